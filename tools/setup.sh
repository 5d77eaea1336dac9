#!/usr/bin/env bash
# Makes a Debian 12 (or newer) machine ready to build, run or test intercomd. Repeatable: what is there is left alone.
#   tools/setup.sh build    what `make demo` needs
#   tools/setup.sh test     that, and what `make test` and `make soak` need
#   tools/setup.sh lab      that of `build`, and what `make test-lab` needs
#   tools/setup.sh bench    that of `build`, and what `make bench` needs
#   tools/setup.sh deny     what `make deny` needs beside the first
#   tools/setup.sh arm64    what `make arm64` needs beside the first
#   tools/setup.sh dist     what `make dist` needs beside the first
#   tools/setup.sh install  that, and what `make test-install` needs
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=${1:-build}

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

build_packages=(
  build-essential pkg-config clang libclang-dev ca-certificates git
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libasound2-dev
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
  gstreamer1.0-libav gstreamer1.0-alsa gstreamer1.0-x
)
test_packages=(chromium systemd strace python3-venv python3-dev procps coturn mosquitto mosquitto-clients janus nftables iproute2 openssl device-tree-compiler libfaketime e2fsprogs valgrind)
lab_packages=(chromium iproute2 qemu-system-x86 qemu-utils mmdebstrap busybox-static cpio kmod xz-utils e2fsprogs)
dist_packages=(debhelper dpkg-dev device-tree-compiler jq python3 xz-utils)
install_test_packages=(lintian man-db mmdebstrap systemd-container python3-venv chromium iproute2)
bench_packages=(chromium iproute2 valgrind python3-venv python3-dev python3-gi python3-websockets gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0 gstreamer1.0-nice)
arm64_packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross mmdebstrap qemu-user-static)

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo -- "$@"
  else die "needs root for: $*; become root or install sudo"; fi
}

fresh_lists=no
install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || die "this is no Debian; install by hand: ${missing[*]}"
  if [ $fresh_lists = no ]; then as_root apt-get update -qq; fresh_lists=yes; fi
  say "installing ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

version_of() { "$1" --version 2>/dev/null | sed -nE 's/^[^0-9]*([0-9]+)\.([0-9]+).*/\1 \2/p' | head -n 1; }

# Debian 12's own rustc is too old; the one it ships for building browsers is new enough.
ensure_rust() {
  local wanted; wanted=$(sed -nE 's/^rust-version *= *"1\.([0-9]+).*/\1/p' Cargo.toml)
  local major minor; read -r major minor < <(version_of rustc) || true
  if [ "${major:-0}" -eq 1 ] && [ "${minor:-0}" -ge "$wanted" ] && command -v cargo >/dev/null; then return; fi
  say "rustc is ${major:-not}.${minor:-there}, 1.$wanted is needed"
  install_packages rustc-web cargo-web
  read -r major minor < <(version_of rustc) || true
  [ "${minor:-0}" -ge "$wanted" ] || die "Debian's rustc-web is too old; install Rust 1.$wanted or newer (https://rustup.rs)"
}

ensure_node() {
  local major; read -r major _ < <(version_of node) || true
  if [ "${major:-0}" -lt 18 ]; then install_packages nodejs; fi
  command -v npm >/dev/null || install_packages npm
}

# A registry that is slow for a moment is no reason to fail.
with_patience() {
  local attempt
  for attempt in 1 2 3; do
    "$@" && return
    say "attempt $attempt of '$*' failed"
    sleep $((attempt * 3))
  done
  die "gave up: $*"
}

install_node_modules() {
  local folder
  for folder in "$@"; do
    if [ ! -f "$folder/node_modules/.package-lock.json" ] || [ "$folder/package-lock.json" -nt "$folder/node_modules/.package-lock.json" ]; then
      with_patience npm --prefix "$folder" ci --no-audit --no-fund --loglevel=error >/dev/null
    fi
  done
}

# install_python FOLDER REQUIREMENTS: what tests ask of Python, in a folder of its own.
install_python() {
  local python=$1 wanted=$2
  if ! cmp -s "$wanted" "$python/requirements.txt" 2>/dev/null; then
    rm -rf "$python"; mkdir -p target
    python3 -m venv "$python"
    with_patience "$python/bin/pip" install -q --disable-pip-version-check -r "$wanted"
    cp "$wanted" "$python/requirements.txt"
  fi
}
# The official Python SDK, among others.
install_test_python() { install_python target/test-python tests/browser/requirements.txt; }
# What checks the Yocto layer.
install_layer_python() { install_python target/yocto-python yocto-layer/tests/requirements.txt; }

install_lab() {
  # A newer qemu-utils, as from backports, breaks the qemu-system that this Debian offers, or is taken away by it.
  # Named with its version, it follows.
  if ! command -v qemu-system-x86_64 >/dev/null || ! command -v qemu-img >/dev/null; then
    [ $fresh_lists = yes ] || { as_root apt-get update -qq; fresh_lists=yes; }
    version=$(apt-cache policy qemu-system-x86 | sed -nE 's/^ +Candidate: (.*)/\1/p')
    say "installing qemu $version"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --allow-downgrades \
      "qemu-system-x86=$version" "qemu-utils=$version" >/dev/null
  fi
  install_packages "${lab_packages[@]}"
  install_node_modules tests/browser
}

# Counts instructions for the bench of the same version. Kept out of the user's own folders; it only starts valgrind, so that it need
# not be optimised.
install_counter() {
  local version; version=$(sed -nE '/^name = "iai-callgrind"$/{n;s/^version = "(.*)"$/\1/p}' Cargo.lock)
  local tools=${XDG_CACHE_HOME:-$HOME/.cache}/intercomd/tools
  if ! grep -qs "iai-callgrind-runner $version " "$tools/.crates.toml"; then
    with_patience cargo install --quiet --debug --locked --root "$tools" "iai-callgrind-runner@$version"
  fi
}

install_packages "${build_packages[@]}"
ensure_rust
ensure_node
if [ ! -d web/node_modules/@metered-ca/realtime ] || [ web/package-lock.json -nt web/node_modules/.package-lock.json ]; then
  with_patience npm --prefix web ci --no-audit --no-fund --loglevel=error >/dev/null
fi
node web/build.mjs >/dev/null

if [ "$purpose" = arm64 ]; then install_packages "${arm64_packages[@]}"; fi

if [ "$purpose" = dist ] || [ "$purpose" = install ]; then install_packages "${dist_packages[@]}"; fi
if [ "$purpose" = install ]; then
  install_packages "${install_test_packages[@]}"
  install_node_modules tests/browser
  install_layer_python
fi

if [ "$purpose" = test ]; then
  # Debian starts these when it installs them; the tests start their own.
  new_services=()
  for package in coturn mosquitto janus; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || new_services+=("$package")
  done
  install_packages "${test_packages[@]}"
  if [ -d /run/systemd/system ]; then
    for service in "${new_services[@]}"; do as_root systemctl disable --now "$service" >/dev/null 2>&1 || true; done
  fi
  # The compiler of Debian's archive comes without linter and formatter.
  cargo clippy --version >/dev/null 2>&1 || install_packages rust-web-clippy
  cargo fmt --version >/dev/null 2>&1 || install_packages rustfmt-web
  install_node_modules tests/browser tests/net tests/soak
  install_test_python
  install_layer_python
  # One call of the hardware lab is among them.
  if [ "$(uname -m)" = x86_64 ]; then install_lab; install_counter; fi
fi

if [ "$purpose" = deny ]; then
  # Kept out of the user's own folders.
  if [ ! -x target/deny-tools/bin/cargo-deny ]; then
    with_patience cargo install --quiet --locked --root target/deny-tools cargo-deny
  fi
fi

if [ "$purpose" = bench ]; then
  install_packages "${bench_packages[@]}"
  install_node_modules tests/bench
  install_test_python
  install_counter
fi

if [ "$purpose" = lab ]; then install_lab; fi
