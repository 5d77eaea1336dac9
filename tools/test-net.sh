#!/usr/bin/env bash
# Calls across bad networks, in network namespaces of this machine. Closes with one line: N passed, N failed.
#   tools/test-net.sh [short]     every row in both roles, or the rows that matter most in one
set -uo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "network namespaces need root: become root or install sudo" >&2; exit 1; }
  exec sudo -- "$PWD/tools/test-net.sh" "$@"
fi
selection=${1:-full}
out=$(mktemp); trap 'rm -f "$out"' EXIT
status=0
(cd tests/net && NET_SELECT=$selection node --test --test-concurrency=1 --test-reporter=tap \
  lab.test.mjs nat.test.mjs signalling.test.mjs media.test.mjs soak.test.mjs) >"$out" 2>&1 &
tests=$!
# Told as it goes: the whole takes long.
tail --pid=$tests -n +1 -f "$out" 2>/dev/null | grep --line-buffered -E '^ *(not ok|ok) |^ *# seed' | sed -u 's/^\(.\{160\}\).*/\1/'
wait $tests || status=$?
passed=$(sed -nE 's/^# pass ([0-9]+)/\1/p' "$out" | tail -n 1); failed=$(sed -nE 's/^# fail ([0-9]+)/\1/p' "$out" | tail -n 1)
if [ "$status" -ne 0 ]; then
  [ "${failed:-0}" -gt 0 ] || failed=1
  # Each failure with its reason, without stacks.
  awk '/^ *not ok/ {on = 1} on {print} /^ *\.\.\.$/ {on = 0}' "$out" | grep -vE '^ +(at |async |file:|process\.)' | cut -c1-1500 | head -n 300
fi
if [ "$selection" = full ]; then node tests/net/table.mjs; fi
printf '%s passed, %s failed\n' "${passed:-0}" "${failed:-0}"
[ "${failed:-0}" -eq 0 ]
