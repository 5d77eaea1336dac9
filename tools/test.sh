#!/usr/bin/env bash
# Runs every test, fast ones first, and closes with one line: N passed, N failed.
set -uo pipefail
cd "$(dirname "$0")/.."
export RUST_BACKTRACE=${RUST_BACKTRACE:-0}
passed=0; failed=0; skipped=0
work=$(mktemp -d); out=$work/out
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT

add() { passed=$((passed + $1)); failed=$((failed + $2)); skipped=$((skipped + ${3:-0})); }
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

# A step without counts of its own: one test that passes or fails.
check() {
  step "$1"; shift
  if "$@"; then add 1 0; else add 0 1; printf 'FAILED: %s\n' "$*"; fi
}

rust() {
  step "$1"; shift
  local status=0
  cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$out" | grep -vE '^(test .* \.\.\. ok$|running |$)' || true
  status=${PIPESTATUS[0]}
  local counts; counts=$(sed -nE 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored.*/\1 \2 \3/p' "$out")
  local p f i
  while read -r p f i; do [ -n "$p" ] && add "$p" "$f" "$i"; done <<<"$counts"
  # A build that fails or a test that kills its process counts nothing by itself.
  if [ "$status" -ne 0 ] && ! grep -q '^test result: FAILED' "$out"; then add 0 1; fi
}

browser() {
  step "$1"; shift
  local status=0
  (cd tests/browser && INTERCOMD_PYTHON="$PWD/../../target/test-python/bin/python" \
    node --test --test-concurrency=1 --test-reporter=tap "$@") >"$out" 2>&1 || status=$?
  grep -E '^ *(not ok|ok) ' "$out" | cut -c1-160
  local p f s
  p=$(sed -nE 's/^# pass ([0-9]+)/\1/p' "$out" | tail -n 1); f=$(sed -nE 's/^# fail ([0-9]+)/\1/p' "$out" | tail -n 1)
  s=$(sed -nE 's/^# skipped ([0-9]+)/\1/p' "$out" | tail -n 1)
  add "${p:-0}" "${f:-0}" "${s:-0}"
  if [ "$status" -ne 0 ]; then
    [ "${f:-0}" -gt 0 ] || add 0 1
    # Each failure with its reason, without stacks.
    awk '/^ *not ok/ {on = 1} on {print} /^ *\.\.\.$/ {on = 0}' "$out" | grep -vE '^ +(at |async |file:|process\.)' | cut -c1-1500 | head -n 200
  fi
}

# Its own script runs the same tests by hand and in full.
network() {
  step "$1"; shift
  local status=0
  "$@" >"$out" 2>&1 || status=$?
  local counts; counts=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$out" | tail -n 1)
  sed '$d' "$out"
  local p=0 f=0; read -r p f <<<"${counts:-0 0}" || true
  add "$p" "$f"
  if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then add 0 1; fi
}

# A script that says "ok" or "FAILED" for each of its checks, and "end" when it has come to its end.
checks() {
  step "$1"; shift
  "$@" >"$out" 2>&1
  sed '/^end$/d' "$out"
  add "$(grep -c '^ok ' "$out")" "$(grep -c '^FAILED ' "$out")"
  if ! grep -q '^end$' "$out"; then add 0 1; echo "FAILED: $* did not come to its end"; fi
}

# The journeys of the page alone: `make test-page`.
if [ "${1:-}" = page ]; then
  check "the daemon" cargo build --locked --quiet
  browser "the answer page" page.test.mjs page-parts.test.mjs call.test.mjs journey.test.mjs contract.test.mjs look.test.mjs looking.test.mjs waking.test.mjs
  printf '%s passed, %s failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ]
  exit
fi

heart=(--test heart --test tidy)
rooms=(--test io --test docs --test config --test board --test devices --test sound --test clocks --test media_release
  --test rtp_in --test encoder_fails --test hooks --test hostile --test watched)
# All at once, which keeps both cores of a small machine at work; what fails here is told by the steps below.
step "building"
cargo test --locked --quiet --no-run --lib --bins "${heart[@]}" "${rooms[@]}" 2>/dev/null
rust "the heart, and the rules of the house" "${heart[@]}"
rust "each room by itself" --lib --bins
rust "rooms together: uplink against a scripted server, configurations, boards, media, hooks, hostile callers, the watched door, documents" "${rooms[@]}"
# The ceilings are of this architecture.
if [ "$(uname -m)" = x86_64 ]; then check "no hot path takes more instructions than it may" tools/bench.sh plain-counts; fi
check "formatting" cargo fmt --all --check
checks "the Yocto layer, as far as nothing has to be fetched" yocto-layer/tests/run.sh quick
check "the lock file of the fuzz targets" cargo update --workspace --locked --quiet --manifest-path fuzz/Cargo.toml
# Browsers mostly wait, and no test from here on builds anything. One after the other, as cargo would have it anyway.
nice -n 19 bash -c 'cargo clippy --locked --quiet --all-targets -- -D warnings &&
  cargo clippy --locked --quiet --lib --bins --no-default-features -- -D warnings' >"$work/lints" 2>&1 & lints=$!
linted() { wait "$lints" || { cat "$work/lints"; return 1; }; }
# The daemon that was built for the tests above, which need it, too.
export INTERCOMD_BIN=${INTERCOMD_BIN:-${CARGO_TARGET_DIR:-$PWD/target}/debug/intercomd}
browser "the answer page by itself" page.test.mjs page-parts.test.mjs signs.test.mjs
browser "a real browser, the real SDKs" call.test.mjs budget.test.mjs service.test.mjs python.test.mjs clock.test.mjs panic.test.mjs disk.test.mjs flood.test.mjs fingerprint.test.mjs
browser "the page's journeys, how it looks, and the house outside" journey.test.mjs contract.test.mjs look.test.mjs looking.test.mjs waking.test.mjs outside.test.mjs publish.test.mjs
check "lints, also without the Raspberry Pi back-end" linted

browser "many calls in a row" ../soak/judge.test.mjs ../soak/soak.test.mjs
network "calls across bad networks" tools/test-net.sh short
# All of it is `make test-lab`. Its guest is of this architecture only.
if [ "$(uname -m)" = x86_64 ]; then network "a call of the installed daemon on a kernel of its own" tools/test-lab.sh call.test.mjs; fi

printf '\nafter %s s:\n' "$SECONDS"
# Rust tests that are ignored here run inside others, each in a network of its own.
if [ "$skipped" -gt 0 ]; then printf '%s are not run by themselves\n' "$skipped"; fi
printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
