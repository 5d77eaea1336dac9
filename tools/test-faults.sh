#!/usr/bin/env bash
# Every cell of docs/faults.md by the test it names: those of `make test`, some rows of the network lab, and the files of
# the hardware lab it names. Needs root. Some 25 minutes.
#   tools/test-faults.sh [--without lab] [--without net]
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --locked --quiet
exec node tools/faults.mjs "$@"
