#!/usr/bin/env bash
# Installs the package in a clean Debian that boots, with systemd as process 1 in a container, and treats it badly; then
# looks at unit, pages and Yocto layer. Closes with one line: N passed, N failed. Needs root.
#   tools/test-install.sh [SUITE]    bookworm (default) or trixie: what it is installed on
# INTERCOMD_DEB: the package to be tested, in place of one made now.
# INTERCOMD_BIN: the program to be packed, in place of one built for tests (target/debug/intercomd).
set -uo pipefail
cd "$(dirname "$0")/.."
suite=${1:-bookworm}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/intercomd
passed=0; failed=0
[ "$(id -u)" -eq 0 ] || { echo "a system that boots needs root: sudo make test-install"; exit 1; }
work=$(mktemp -d /var/tmp/intercomd-install.XXXXXX); trap 'rm -rf --one-file-system "$work"' EXIT
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }
ok() { passed=$((passed + 1)); printf 'ok      %s\n' "$1"; }
# Never at the end of a pipe: it would count in a shell of its own.
bad() { failed=$((failed + 1)); printf 'FAILED  %s\n' "$1"; sed 's/^/        /' | head -n "${2:-30}"; }
# check NAME COMMAND...: it ends with 0; what it prints is shown if not.
check() {
  local name=$1; shift
  if "$@" >"$work/out" 2>&1; then ok "$name"; else bad "$name" <"$work/out"; fi
}
# quiet NAME COMMAND...: and it prints nothing.
quiet() {
  local name=$1 status=0; shift
  "$@" >"$work/out" 2>&1 || status=$?
  if [ $status -eq 0 ] && [ ! -s "$work/out" ]; then ok "$name"; else bad "$name (exit code $status)" <"$work/out"; fi
}
finish() {
  printf '\nafter %s s:\n%s passed, %s failed\n' "$SECONDS" "$passed" "$failed"
  [ "$failed" -eq 0 ]; exit
}
stop() { bad "$1" 60 <<<"$2"; finish; }

step "the package"
if [ -z "${INTERCOMD_DEB:-}" ]; then
  if [ -z "${INTERCOMD_BIN:-}" ]; then
    cargo build --locked --quiet || stop "the program builds" "see above"
    INTERCOMD_BIN=$work/intercomd; strip -o "$INTERCOMD_BIN" "${CARGO_TARGET_DIR:-target}/debug/intercomd"
  fi
  # What is tested is the tree as it is, files that git does not know yet among them.
  export INTERCOMD_BIN DIST_DIRTY=1
  tools/dist.sh deb 2>"$work/out" || stop "a package can be made" "$(cat "$work/out")"
  INTERCOMD_DEB=$(ls target/dist/intercomd_*_"$(dpkg --print-architecture)".deb)
  cp "$INTERCOMD_DEB" "$work/first.deb"
  tools/dist.sh deb 2>"$work/out" || stop "a package can be made" "$(cat "$work/out")"
  check "made twice of one program it is the same, byte for byte" cmp "$work/first.deb" "$INTERCOMD_DEB"
fi
cp "$INTERCOMD_DEB" "$work/intercomd.deb"
dpkg-deb -x "$work/intercomd.deb" "$work/unpacked"
dpkg-deb -R "$work/intercomd.deb" "$work/next"
printf '        %s, %s bytes\n' "$(basename "$INTERCOMD_DEB")" "$(stat -c %s "$INTERCOMD_DEB")"
quiet "lintian has nothing to say that is not explained" \
  lintian --allow-root --no-cfg --pedantic --display-info --tag-display-limit 0 --fail-on error,warning,info,pedantic "$work/intercomd.deb"
for page in "$work"/unpacked/usr/share/man/man?/*.gz; do
  quiet "man page $(basename "$page" .gz)" sh -c 'zcat "$1" | LC_ALL=C.UTF-8 man --warnings -E UTF-8 -Tutf8 -Z -l - 2>&1 >/dev/null' - "$page"
done
# Links to folders are for who has the sources; the licences' texts are of others.
links() (
  cd "$work/unpacked/usr/share/doc/intercomd" || exit 1
  grep -roE '\]\([^):#]+\.[a-z]+' --include='*.md' --exclude=THIRD-PARTY.md . | sed 's/:](/ /' >"$work/links"
  [ -s "$work/links" ] || { echo "there is no link at all"; exit 1; }
  lost=0
  while read -r page link; do
    [ -e "$(dirname "$page")/$link" ] || { echo "$page: $link is not there"; lost=1; }
  done <"$work/links"
  exit $lost
)
check "each link of its documents leads to a file of the package" links
check "bash takes the completions" bash -n "$work/unpacked/usr/share/bash-completion/completions/intercomd"

step "the unit, for systemd $(systemctl --version | sed -nE '1s/systemd ([0-9]+).*/\1/p') of this machine"
# Below /usr/lib since the debhelper of Debian 13.
unit=$work/unpacked/usr/lib/systemd/system/intercomd.service
[ -f "$unit" ] || unit=$work/unpacked/lib/systemd/system/intercomd.service
check "exposure 1.5 at most" systemd-analyze security --no-pager --offline=true --threshold=15 "$unit"
printf '        %s\n' "$(tail -n 1 "$work/out" | sed 's/^[^A-Za-z]*//')"
check "accounts can be made" systemd-sysusers --root="$work/unpacked" --dry-run intercomd.conf

# A next version: that of the package, with another number and more in the configuration's comments.
next() {
  sed -i -E "s/^(Version: .*)\$/\\1+$1/" "$work/next/DEBIAN/control"
  dpkg-deb -Zgzip -z1 --root-owner-group -b "$work/next" "$work/$1.deb" >/dev/null
}
next same
sed -i -E 's/\+same$//' "$work/next/DEBIAN/control"
echo "# A line of the next version." >>"$work/next/etc/intercomd/config.toml"
(cd "$work/next" && find . -type f -not -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
next told

step "a clean Debian $suite"
mirror() {
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    awk '$3 == "main" && $2 !~ /security|updates/ {print $1; exit}'
}
# Kept between runs: the system, and what the package depends on, fetched and not installed.
key=$( (dpkg-deb -f "$work/intercomd.deb" Depends; echo "$suite 1") | sha256sum | cut -c1-12)
clean=$cache/install-$suite-$key.tar
if [ ! -f "$clean" ]; then
  mkdir -p "$cache"
  from=$(mirror)
  mmdebstrap --quiet --mode=root --variant=minbase --skip=cleanup/apt,cleanup/tmp \
    --include=systemd,systemd-sysv,dbus,udev,curl,ca-certificates \
    --customize-hook="upload '$work/intercomd.deb' /intercomd.deb" \
    --customize-hook='chroot "$1" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends --download-only /intercomd.deb >/dev/null && rm "$1/intercomd.deb"' \
    "$suite" "$clean.part.tar" ${from:+"$from"} >"$work/out" 2>&1 || stop "a clean system can be made" "$(cat "$work/out")"
  mv "$clean.part.tar" "$clean"
fi
root=$work/root
mkdir "$root" "$work/results"
tar -C "$root" --numeric-owner -xf "$clean"
cp "$work"/{intercomd,same,told}.deb "$root/root/"
cp tests/install/*.sh "$root/root/"
cat >"$root/etc/systemd/system/judge.service" <<'UNIT'
[Unit]
Description=What the test does once the system is up
Requires=multi-user.target
After=multi-user.target
[Service]
Type=oneshot
TimeoutStartSec=900
EnvironmentFile=/results/which
ExecStart=/bin/bash /root/${SCRIPT}.sh
ExecStopPost=/bin/systemctl --no-block --force poweroff
UNIT

# boot NAME OPTION...: starts the system, in the network that the options say, and has tests/install/NAME.sh judge it.
boot() {
  local name=$1; shift
  step "$name"
  rm -f "$work/results"/*; echo "SCRIPT=$name" >"$work/results/which"
  timeout -k 10 1200 systemd-nspawn --quiet --directory="$root" --register=no --keep-unit --console=pipe \
    --bind="$work/results:/results" "$@" /lib/systemd/systemd --unit=judge.service --log-target=console \
    </dev/null >"$work/console" 2>&1 || true
  if ! grep -q '^end$' "$work/results/verdicts" 2>/dev/null; then
    { tail -n 40 "$work/console"; echo ---; cat "$work/results"/* 2>/dev/null | tail -n 40; } >"$work/out"
    bad "$name runs to its end" 90 <"$work/out"
  fi
  [ -f "$work/results/verdicts" ] || return
  sed '/^end$/d' "$work/results/verdicts"
  passed=$((passed + $(grep -c '^ok ' "$work/results/verdicts"))); failed=$((failed + $(grep -c '^FAILED ' "$work/results/verdicts")))
}

boot installed --private-network

# Two machines, joined by a wire: the door's, and the phone's.
door=intercomd-door-$$ phone=intercomd-phone-$$
part() { for name in "$door" "$phone"; do ip netns delete "$name" 2>/dev/null; done; }
trap 'part; rm -rf --one-file-system "$work"' EXIT
ip netns add "$door"; ip netns add "$phone"
ip link add eth0 netns "$door" type veth peer name eth0 netns "$phone"
up() { ip -n "$1" addr add "$2" dev eth0; ip -n "$1" link set eth0 up; ip -n "$1" link set lo up; }
up "$door" 10.66.0.1/24; up "$phone" 10.66.0.2/24
ip netns exec "$phone" timeout -k 10 600 node tests/install/answer.mjs "$work/results" eth0 >"$work/answered" 2>&1 &
answering=$!
boot called --network-namespace-path="/run/netns/$door" --tmpfs=/var/lib/intercomd:size=4M
status=0; wait "$answering" || status=$?
cat "$work/answered"
passed=$((passed + $(grep -c '^ok ' "$work/answered"))); failed=$((failed + $(grep -c '^FAILED ' "$work/answered")))
# Killed, it had no time to say so.
if [ $status -ne 0 ] && ! grep -q '^FAILED ' "$work/answered"; then bad "the phone's part runs to its end (exit code $status)" <"$work/answered"; fi
part

boot readonly --private-network --read-only --tmpfs=/var/lib/intercomd --tmpfs=/var/cache/intercomd --tmpfs=/var/lib/systemd --tmpfs=/var/log --tmpfs=/var/tmp --tmpfs=/tmp
boot removed --private-network

step "the Yocto layer"
yocto-layer/tests/run.sh >"$work/out" 2>&1; sed '/^end$/d' "$work/out"
passed=$((passed + $(grep -c '^ok ' "$work/out"))); failed=$((failed + $(grep -c '^FAILED ' "$work/out")))
# It may not be there at all, or not to be run.
grep -q '^end$' "$work/out" || bad "the layer's tests run to their end" </dev/null
finish
