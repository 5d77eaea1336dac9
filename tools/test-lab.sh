#!/usr/bin/env bash
# The hardware lab: the installed daemon in a virtual machine with a real kernel and simulated devices. Closes with one
# line: N passed, N failed.
#   tools/test-lab.sh [FILE.test.mjs...]     all files of tests/lab, or those named
set -uo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "the hardware lab needs root: become root or install sudo" >&2; exit 1; }
  exec sudo --preserve-env=INTERCOMD_LAB_CACHE,INTERCOMD_BIN,CHROMIUM,LAB_KEEP,LAB_PATIENCE -- "$PWD/tools/test-lab.sh" "$@"
fi
export INTERCOMD_LAB_CACHE=${INTERCOMD_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/intercomd-lab}
LAB_IMAGE=$(tests/lab/image/build.sh "$INTERCOMD_LAB_CACHE") || { printf '0 passed, 1 failed\n'; exit 1; }
export LAB_IMAGE
out=$(mktemp); trap 'rm -f "$out"' EXIT
status=0
if [ $# -eq 0 ]; then mapfile -t files < <(cd tests/lab && ls -- *.test.mjs); else files=("$@"); fi
(cd tests/lab && exec node --test --test-concurrency=1 --test-reporter=tap "${files[@]}") >"$out" 2>&1 &
tests=$!
trap 'kill $tests 2>/dev/null; wait $tests; rm -f "$out"; exit 130' INT TERM
# Told as it goes.
tail --pid=$tests -n +1 -f "$out" 2>/dev/null | grep --line-buffered -E '^ *(not ok|ok) ' | cut -c1-160
wait $tests || status=$?
passed=$(sed -nE 's/^# pass ([0-9]+)/\1/p' "$out" | tail -n 1); failed=$(sed -nE 's/^# fail ([0-9]+)/\1/p' "$out" | tail -n 1)
if [ "$status" -ne 0 ]; then
  [ "${failed:-0}" -gt 0 ] || failed=1
  # Each failure with its reason, without stacks.
  awk '/^ *not ok/ {on = 1} on {print} /^ *\.\.\.$/ {on = 0}' "$out" | grep -vE '^ +(at |async |file:|process\.)' | cut -c1-1500 | head -n 300
fi
printf 'after %s s:\n%s passed, %s failed\n' "$SECONDS" "${passed:-0}" "${failed:-0}"
[ "${failed:-0}" -eq 0 ]
