#!/usr/bin/env bash
# The hardware lab: the installed daemon in a virtual machine with a real kernel and simulated devices. Closes with one
# line: N passed, N failed.
#   tools/test-lab.sh [FILE.test.mjs...]     all files of tests/lab, or those named
set -uo pipefail
cd "$(dirname "$0")/.."
export INTERCOMD_LAB_CACHE=${INTERCOMD_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/intercomd-lab}
kept=LAB_IMAGE,LAB_PATIENCE,INTERCOMD_BIN,CHROMIUM
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "--preserve-env=$kept" -- "$@"; fi; }
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "virtual machines and network namespaces need root: become root or install sudo" >&2; exit 1; }
  sudo -v || exit 1
fi
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
fail() { printf '%s\n0 passed, 1 failed\n' "$*"; exit 1; }

# The image is made while the daemon is compiled.
as_root tests/lab/image/build.sh "$INTERCOMD_LAB_CACHE" >"$work/image" & image=$!
if [ -z "${INTERCOMD_BIN:-}" ]; then
  cargo build --locked --quiet || { wait $image; fail "the daemon does not build"; }
fi
wait $image || fail "there is no image"
LAB_IMAGE=$(cat "$work/image"); export LAB_IMAGE
printf 'daemon and image are there after %s s\n' "$SECONDS"
as_root node tests/lab/snapshot.mjs || fail "the image does not start"
printf 'the guest is there after %s s\n' "$SECONDS"

out=$work/out; status=0
if [ $# -gt 0 ]; then files=("$@"); else files=(call camera sound panel unit); files=("${files[@]/%/.test.mjs}"); fi
cd tests/lab || exit 1
as_root node --test --test-concurrency=1 --test-reporter=tap "${files[@]}" >"$out" 2>&1 & tests=$!
trap 'kill $tests 2>/dev/null; wait $tests; rm -rf "$work"; exit 130' INT TERM
# Told as it goes.
tail --pid=$tests -n +1 -f "$out" 2>/dev/null | grep --line-buffered -E '^ *(not ok|ok) ' | cut -c1-160
wait $tests || status=$?
passed=$(sed -nE 's/^# pass ([0-9]+)/\1/p' "$out" | tail -n 1); failed=$(sed -nE 's/^# fail ([0-9]+)/\1/p' "$out" | tail -n 1)
skipped=$(sed -nE 's/^# skipped ([0-9]+)/\1/p' "$out" | tail -n 1); todo=$(sed -nE 's/^# todo ([0-9]+)/\1/p' "$out" | tail -n 1)
if [ "$status" -ne 0 ]; then
  [ "${failed:-0}" -gt 0 ] || failed=1
  # Each failure with its reason, without stacks.
  awk '/^ *not ok/ {on = 1} on {print} /^ *\.\.\.$/ {on = 0}' "$out" | grep -vE '^ +(at |async |file:|process\.)' | cut -c1-1500 | head -n 300
fi
# Node calls it a success when all tests are skipped or still to do, and a file without tests one that passed.
hollow=$(awk '/^ +# Subtest: / {inner = 1} /^(not )?ok / {if (!inner && /^ok .*\.test\.mjs$/) n++; inner = 0} END {print n + 0}' "$out")
passed=$((${passed:-0} - hollow))
if [ "$hollow" -gt 0 ]; then failed=$((${failed:-0} + hollow)); echo "$hollow files hold no test"; fi
if [ "$passed" -le 0 ] && [ "${failed:-0}" -eq 0 ]; then failed=1; echo "not one test passed of ${files[*]}"; fi
if [ "${skipped:-0}" -gt 0 ]; then printf '%s skipped\n' "$skipped"; fi
if [ "${todo:-0}" -gt 0 ]; then printf '%s still to do\n' "$todo"; fi
printf 'after %s s:\n%s passed, %s failed\n' "$SECONDS" "$passed" "${failed:-0}"
[ "${failed:-0}" -eq 0 ]
