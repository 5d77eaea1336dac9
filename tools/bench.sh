#!/usr/bin/env bash
# Measures the door against what a user would otherwise run, and its hot paths against their ceilings.
#   tools/bench.sh              all of it; results in target/bench
#   tools/bench.sh counts       instruction counts only; fails when one is over its ceiling
#   tools/bench.sh plain-counts the same of a build that is not optimised, as `make test` has it already
#   tools/bench.sh scenario     the five doors only
#   tools/bench.sh profile      where the CPU of a call goes, ours and webrtcbin's; by library where perf is installed
#   tools/bench.sh scale        only what more phones and larger pictures cost; as root it counts datagrams, too
#   INTERCOMD_BIN=PROGRAM       what is measured in place of one that is built now
#   BENCH_QUICK=1               a scenario of under five minutes, and neither scale nor times of the pure parts
set -euo pipefail
cd "$(dirname "$0")/.."
part=${1:-all}
mkdir -p target/bench

export IAI_CALLGRIND_RUNNER=${XDG_CACHE_HOME:-$HOME/.cache}/intercomd/tools/bin/iai-callgrind-runner

# In a folder of their own: benches come with a program beside them, which is not the one to install.
counts() { CARGO_TARGET_DIR=target/bench-build cargo bench --locked --bench instructions; }

plain_counts() { cargo bench --locked --profile dev --bench instructions; }

times() {
  CARGO_TARGET_DIR=target/bench-build cargo bench --locked --bench time -- --noplot | tee target/bench/times.txt
}

# The program to be measured, unless it is named.
program() {
  [ -n "${INTERCOMD_BIN:-}" ] || cargo build --locked --release
  export INTERCOMD_BIN=${INTERCOMD_BIN:-$PWD/target/release/intercomd}
}

scenario() {
  program
  (cd tests/bench && npm test --silent)
  node tests/bench/run.mjs
}

# node-datachannel, which its phones are made of, has no build for every machine.
can_scale() { (cd tests/bench && node -e 'import("node-datachannel").catch(() => process.exit(1))'); }

profile() {
  program
  node tests/bench/profile.mjs
}

scale() {
  program
  (cd tests/bench && npm test --silent)
  node tests/bench/scale.mjs
}

case $part in
  counts) counts ;;
  plain-counts) plain_counts ;;
  scenario) scenario ;;
  profile) profile ;;
  scale) scale ;;
  all)
    scenario
    counts
    if [ -z "${BENCH_QUICK:-}" ]; then
      times
      if can_scale; then scale; else echo "bench: no node-datachannel here, so the part scale is left out" >&2; fi
    fi
    ;;
  *) echo "bench: no part called $part: counts, plain-counts, profile, scale, scenario or nothing" >&2; exit 2 ;;
esac
