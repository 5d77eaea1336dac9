#!/usr/bin/env bash
# Calls for an hour with ends by chance, then whether threads, descriptors, memory and files are flat. Results and plots
# in target/soak. Closes with one line: N passed, N failed.
#   SOAK_MINUTES=60                 how long
#   SOAK_SEED=…                     the ends of a run before
#   SOAK_PARTS=light,chromium       phones in the test's own process, real browsers, or both
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${INTERCOMD_BIN:-}" ]; then
  cargo build --locked --release
  INTERCOMD_BIN=$PWD/target/release/intercomd
fi
export INTERCOMD_BIN
(cd tests/soak && node --test judge.test.mjs >/dev/null) || { echo "soak: its judge is wrong: node --test tests/soak/judge.test.mjs" >&2; exit 1; }
exec node tests/soak/run.mjs
