#!/usr/bin/env bash
# Measures the door against what a user would otherwise run; results in target/bench.
#   BENCH_QUICK=1     under five minutes, once the release build is there
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target/bench
cargo build --locked --release
(cd tests/bench && npm test --silent)
INTERCOMD_BIN=$PWD/target/release/intercomd node tests/bench/run.mjs
