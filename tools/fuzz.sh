#!/usr/bin/env bash
# Runs every fuzz target, or those named, for FUZZ_SECONDS each, and closes with one line: N passed, N failed.
#   FUZZ_SECONDS=60 [FUZZ_RUNS=10000000] tools/fuzz.sh [TARGET …]
# FUZZ_RUNS ends a target sooner; FUZZ_LENGTH=512 makes inputs of at most so many bytes, of which more fit into a second.
# What a run finds new lies in fuzz/target/corpus and is begun with the next time; a finding in fuzz/target/findings.
# docs/fuzzing.md says what there is and why it is built like this.
set -uo pipefail
cd "$(dirname "$0")/../fuzz"
seconds=${FUZZ_SECONDS:-60}
host=$(rustc -vV | sed -n 's/^host: //p')

# What cargo-fuzz passes but for the address sanitizer, which alone needs a nightly compiler. With --target, build
# scripts and macros are built without it.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 ${RUSTFLAGS:-}"
nice -n 10 cargo build --locked --quiet --release --target "$host" --bins || exit 1

if [ $# -gt 0 ]; then targets=("$@"); else
  mapfile -t targets < <(sed -n 's/^name = "\(.*\)"$/\1/p' Cargo.toml | grep -v '^intercomd-fuzz$')
fi
passed=0; failed=0
mkdir -p target/findings
out=$(mktemp); trap 'rm -f "$out"' EXIT
for target in "${targets[@]}"; do
  mkdir -p "target/corpus/$target"
  dictionary=(); [ -f "dictionaries/$target.dict" ] && dictionary=("-dict=dictionaries/$target.dict")
  # A step takes microseconds; one that takes seconds is a way to stop the door.
  nice -n 10 "target/$host/release/$target" -max_total_time="$seconds" -runs="${FUZZ_RUNS:--1}" -timeout=5 -rss_limit_mb=1024 \
    -print_final_stats=1 "-artifact_prefix=target/findings/$target-" "${dictionary[@]}" \
    -max_len="${FUZZ_LENGTH:-$(case $target in h264) echo 8192;; *) echo 4096;; esac)}" \
    "target/corpus/$target" "corpus/$target" >"$out" 2>&1 </dev/null
  status=$?
  runs=$(sed -nE 's/^stat::number_of_executed_units: *([0-9]+).*/\1/p' "$out")
  rate=$(sed -nE 's/^stat::average_exec_per_sec: *([0-9]+).*/\1/p' "$out")
  covered=$(sed -nE 's/.* cov: ([0-9]+) .*/\1/p' "$out" | tail -n 1)
  if [ "$status" -eq 0 ] && [ "${runs:-0}" -gt 0 ]; then
    passed=$((passed + 1)); word=ok
  else
    failed=$((failed + 1)); word=FINDING
    grep -aE "panicked at|^ERROR|^==[0-9]+== *ERROR|Test unit written|assertion" -A 3 "$out" | cut -c1-400 | head -n 30
    [ -n "${runs:-}" ] || tail -n 20 "$out"
  fi
  printf '%-18s %-8s %12s executions, %8s a second, %6s edges\n' "$target" "$word" "${runs:-0}" "${rate:-0}" "${covered:-0}"
done
printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
