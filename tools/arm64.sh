#!/usr/bin/env bash
# Builds the whole daemon for 64-bit ARM on a Debian PC (12 or newer), runs it and its pure tests here through
# qemu-user, and closes with one line: N passed, N failed. Sets itself up through apt; what is there is left alone.
#   tools/arm64.sh          all of it
#   tools/arm64.sh build    no further than target/aarch64-unknown-linux-gnu/release/intercomd
# INTERCOMD_ARM64_SUITE: the Debian release whose libraries it is linked with; default: that of this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
target=aarch64-unknown-linux-gnu
binary=target/$target/release/intercomd

say() { printf 'arm64: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

[ "$(uname -m)" = x86_64 ] || die "this is for a PC; on the board itself, or another ARM machine, 'make release' does"
suite=${INTERCOMD_ARM64_SUITE:-$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-bookworm}")}

# Headers and libraries to link with. Never installed on this machine: the -dev packages of two architectures
# push each other out.
sysroot_packages=(libc6-dev libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libasound2-dev)
key=$(printf '%s\n' "$suite" "${sysroot_packages[@]}" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/intercomd
sysroot=$cache/arm64-$suite-$key

# The mirror this machine's own packages come from, if it serves that release; else mmdebstrap knows one.
mirror() {
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    awk -v suite="$suite" '$2 == suite && $3 == "main" {print $1; exit}'
}

make_sysroot() {
  [ -f "$sysroot/.complete" ] && return
  say "unpacking the ARM libraries of Debian $suite into $sysroot"
  mkdir -p "$cache"; rm -rf "$sysroot" "$sysroot.part"
  local mode=auto from; from=$(mirror)
  if [ "$(id -u)" -eq 0 ]; then mode=root; fi
  # "extract" unpacks and runs nothing of it, so no emulation has to be registered with the kernel.
  mmdebstrap --quiet --mode=$mode --architectures=arm64 --variant=extract \
    --include="$(IFS=,; printf '%s' "${sysroot_packages[*]}")" "$suite" "$sysroot.part" ${from:+"$from"}
  # A link to /lib/... would lead to the libraries of this machine.
  find "$sysroot.part/usr/lib" "$sysroot.part/lib" -type l -lname '/*' -printf '%p %l\n' 2>/dev/null |
    while read -r link to; do ln -sfn "$sysroot$to" "$link"; done
  rm -rf "$sysroot.part"/usr/share/{doc,man,locale,info,icons} "$sysroot.part"/var/{cache,lib}/apt
  mv "$sysroot.part" "$sysroot"
  touch "$sysroot/.complete"
}

has_std() { compgen -G "$1/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null; }

# Rust's own library for ARM: of the compiler, through rustup, or unpacked from Debian's package of exactly
# the compiler's version. Prints what the compiler has to be told.
rust_std() {
  local own; own=$(rustc --print sysroot)
  if has_std "$own"; then return; fi
  if command -v rustup >/dev/null && rustup target add $target >&2 && has_std "$own"; then return; fi
  local version folder; version=$(dpkg-query -W -f='${Version}' rustc-web 2>/dev/null) ||
    die "no Rust library for $target: 'rustup target add $target', or Debian's rustc-web"
  folder=$cache/rust-std-$version
  if ! has_std "$folder/usr"; then
    say "unpacking libstd-rust-web-dev $version for ARM"
    rm -rf "$folder"; mkdir -p "$folder"/{lists/partial,archives/partial}; : >"$folder/status"
    # A package database of its own: this machine's stays free of a second architecture.
    local options=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::lists="$folder/lists"
      -o Dir::State::status="$folder/status" -o Dir::Cache="$folder" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update >&2
    (cd "$folder" && apt-get "${options[@]}" download "libstd-rust-web-dev=$version" >&2)
    dpkg-deb -x "$folder"/libstd-rust-web-dev_*_arm64.deb "$folder"
    rm -rf "$folder"/{lists,archives,status} "$folder"/*.deb
    has_std "$folder/usr" || die "libstd-rust-web-dev $version holds no library for $target"
  fi
  printf -- '--sysroot %s' "$folder/usr"
}

tools/setup.sh arm64
make_sysroot
std=$(rust_std)

lib=$sysroot/usr/lib/aarch64-linux-gnu
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="$std -C link-arg=--sysroot=$sysroot \
-C link-arg=-L$lib -C link-arg=-Wl,-rpath-link,$lib:$sysroot/lib/aarch64-linux-gnu"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L $sysroot"
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-ar
export CFLAGS_aarch64_unknown_linux_gnu="--sysroot=$sysroot"
export PKG_CONFIG_ALLOW_CROSS_aarch64_unknown_linux_gnu=1
export PKG_CONFIG_SYSROOT_DIR_aarch64_unknown_linux_gnu=$sysroot
export PKG_CONFIG_LIBDIR_aarch64_unknown_linux_gnu=$lib/pkgconfig:$sysroot/usr/share/pkgconfig
export BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu="--target=aarch64-linux-gnu --sysroot=$sysroot"

passed=0; failed=0
out=$(mktemp); scratch=$(mktemp -d); trap 'rm -rf "$out" "$scratch"' EXIT
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }
# check NAME WANTED-CODE WANTED-TEXT COMMAND...: how the command ends, and a pattern in what it prints.
check() {
  local name=$1 code=$2 text=$3 status=0; shift 3
  "$@" >"$out" 2>&1 || status=$?
  if [ "$status" -eq "$code" ] && grep -qE -- "$text" "$out"; then
    passed=$((passed + 1)); printf 'ok      %s: %s\n' "$name" "$(grep -m 1 -E -- "$text" "$out" | cut -c1-150)"
  else
    failed=$((failed + 1)); printf 'FAILED  %s: exit code %s for %s, and no "%s" in:\n' "$name" "$status" "$code" "$text"
    head -n 20 "$out"
  fi
}

step "the daemon for $target"
cargo build --locked --release --target $target
version=$(sed -nE '0,/^version/s/^version *= *"(.*)"/\1/p' Cargo.toml)
check "it is an ARM program" 0 'AArch64' aarch64-linux-gnu-readelf -h "$binary"
check "its libraries" 0 'libgstreamer-1.0' aarch64-linux-gnu-readelf -d "$binary"
grep -oE 'Shared library: \[[^]]*' "$out" | sed 's/.*\[/        /'
printf '        %s bytes, stripped; the ARM libraries take %s\n' "$(stat -c %s "$binary")" "$(du -sh "$sysroot" | cut -f1)"

if [ "$what" = all ]; then
  step "the daemon under qemu-user"
  run() { qemu-aarch64-static -L "$sysroot" "$binary" "$@"; }
  printf 'channel = "front-door"\n' >"$scratch/good.toml"
  printf 'channel = "front-door"\n\n[camera]\nrate = 3\n' >"$scratch/bad.toml"
  check "--version" 0 "^intercomd ${version//./\\.}\$" run --version
  for board in board/*.toml; do
    name=$(basename "$board" .toml)
    check "check-config --board $name" 0 'the configuration is good' run check-config --config "$scratch/good.toml" --board "$name"
  done
  check "check-config refuses" 1 'bad\.toml:4: camera\.rate' run check-config --config "$scratch/bad.toml"

  step "the pure tests under qemu-user"
  # Left out: what needs GStreamer's plugins, a kernel's devices, or the order of many threads in little time; what starts
  # other programs, which qemu-user does in its own way.
  # The crates they stand on are built without optimising: they do little here, and the build is most of the time.
  tests() {
    local status=0 p f
    cargo test --locked --no-fail-fast --config 'profile.dev.package."*".opt-level=0' --target $target "$@" 2>&1 |
      tee "$out" | grep -vE '^(test .* \.\.\. ok$|running |$)' || status=${PIPESTATUS[0]}
    while read -r p f; do passed=$((passed + p)); failed=$((failed + f)); done < <(
      sed -nE 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed;.*/\1 \2/p' "$out")
    # A build that fails, or a test that kills its process, counts nothing by itself.
    if [ "$status" -ne 0 ] && ! grep -q '^test result: FAILED' "$out"; then failed=$((failed + 1)); fi
  }
  tests --test heart --test config --test board --lib -- \
    --skip media:: --skip hardware:: --skip signalling::hub --skip signalling::lan --skip rtc::turn \
    --skip config::whole_file --skip signalling::token::tests::what_is_no_token \
    --skip overview::tests::health_knows_by_what_the_media_say
  # Of those two rooms, what tests/tidy.rs knows to be pure.
  mapfile -t pure < <(sed -nE 's#^ +"src/((media|hardware)/[a-z_]+)\.rs",$#\1::tests#p' tests/tidy.rs | sed 's#/#::#g' | sort -u)
  [ ${#pure[@]} -gt 0 ] || die "tests/tidy.rs names no pure module any more"
  tests --lib -- "${pure[@]}"
fi

printf '\nafter %s s:\n%s passed, %s failed\n' "$SECONDS" "$passed" "$failed"
[ "$failed" -eq 0 ]
