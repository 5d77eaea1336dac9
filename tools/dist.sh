#!/usr/bin/env bash
# Makes what is released, into target/dist/.
#   tools/dist.sh           all of it, of a checkout without changes; on a PC for amd64 and for arm64
#   tools/dist.sh manual    man pages, completions, licences
#   tools/dist.sh deb       that and the package of this machine
#   tools/dist.sh source    the sources with all crates
#   tools/dist.sh sbom      the bill of materials
#   tools/dist.sh again     the package of this machine, and once more from a clone elsewhere: whether they are the same
# INTERCOMD_MAINTAINER: "Name <address>" of whoever hands the package to others.
# INTERCOMD_BIN: a program of this version to be packed, in place of one that is built now.
# DIST_DIRTY=1: what is not committed, or not even known to git, is taken too. For tests, never for a release.
# Two runs on the same commit and with the same compiler give the same packages: the time in them is the commit's.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
target=${CARGO_TARGET_DIR:-$PWD/target}
dist=$PWD/target/dist
cache=${XDG_CACHE_HOME:-$HOME/.cache}/intercomd
cyclonedx=0.5.9
maintainer=${INTERCOMD_MAINTAINER:-The intercomd authors <intercomd@localhost.localdomain>}

say() { printf 'dist: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

version=$(sed -nE '0,/^version/s/^version *= *"(.*)"/\1/p' Cargo.toml)
# Without a checkout the sources' own time stands in.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH
# Who packs has no time zone, no language and no umask of their own.
export TZ=UTC LC_ALL=C.UTF-8
umask 022
mkdir -p "$dist"

# A release is what a commit says it is.
clean() {
  if [ ! -e .git ] || [ "${DIST_DIRTY:-}" = 1 ]; then return; fi
  local changed; changed=$(git status --porcelain)
  if [ -z "$changed" ]; then return; fi
  printf '%s\n' "$changed" >&2
  die "these files are not as they were committed; commit them, put them away, or run it with DIST_DIRTY=1"
}

# What git keeps (and would keep, where that is asked for), or in an unpacked tarball everything that is not built.
files() {
  if [ -e .git ] && [ "${DIST_DIRTY:-}" = 1 ]; then git ls-files -z --cached --others --exclude-standard
  elif [ -e .git ]; then git ls-files -z --cached
  else find . -type f -not -path './target/*' -not -path '*/node_modules/*' -not -path './web/dist/*' -not -path './vendor/*' -printf '%P\0'; fi
}

# copy FOLDER: the sources.
copy() {
  rm -rf "$1"; mkdir -p "$1"
  files | while IFS= read -r -d '' file; do if [ -e "$file" ]; then printf '%s\0' "$file"; fi; done | tar -c --null -T - | tar -x -C "$1"
}

# No path of this machine is left in the program.
build() {
  if [ -n "${INTERCOMD_BIN:-}" ]; then readlink -f "$INTERCOMD_BIN"; return; fi
  RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/usr/src/intercomd --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/usr/src/cargo" \
    cargo build --locked --release >&2
  printf '%s' "$target/release/intercomd"
}

# manual BINARY: a program this machine can run.
manual() {
  say "man pages, completions, licences"
  rm -rf "$dist/manual"; mkdir -p "$dist/manual"
  "$1" manual "$dist/manual"
  tools/config-manual.py docs/config.toml "$version" >"$dist/manual/intercomd.toml.5"
  # Those of every architecture a package is made for.
  cargo metadata --locked --format-version 1 --filter-platform x86_64-unknown-linux-gnu |
    tools/third-party.py >"$dist/manual/THIRD-PARTY.md"
}

needed() { readelf -d "$1" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' | grep -v '^ld-linux' | sort; }

# package BINARY ARCHITECTURE [SUBSTVARS]
package() {
  local binary=$1 architecture=$2 stage=$dist/stage/$2/intercomd-$version
  say "package for $architecture"
  copy "$stage"
  cp -r web/dist "$stage/web/dist"
  cp -r packaging/debian "$stage/debian"
  local file
  for file in control changelog; do
    sed -e "s/@VERSION@/$version/" -e "s/@MAINTAINER@/$maintainer/" -e "s/@DATE@/$(date -u -R -d "@$SOURCE_DATE_EPOCH")/" \
      "packaging/debian/$file.in" >"$stage/debian/$file"
    rm "$stage/debian/$file.in"
  done
  (cd "$stage" && INTERCOMD_BINARY=$binary INTERCOMD_MANUAL=$dist/manual INTERCOMD_SHLIBS=${3:-} \
    dpkg-architecture -a"$architecture" -c debian/rules binary) >"$dist/stage/$architecture.log" 2>&1 ||
    { tail -n 30 "$dist/stage/$architecture.log" >&2; die "the package for $architecture cannot be made"; }
  mv "$dist/stage/$architecture/intercomd_${version}_$architecture.deb" "$dist/"
  cp "$stage/debian/intercomd.substvars" "$dist/stage/$architecture.substvars"
}

packages() {
  local own binary; own=$(dpkg --print-architecture); binary=$(build)
  manual "$binary"
  package "$binary" "$own"
  if [ "$what" != all ]; then return; fi
  if [ "$own" != amd64 ]; then say "no package for amd64: that is built on a PC"; return; fi
  # Fetches the libraries of arm64 if they are not there yet.
  tools/arm64.sh build >&2
  local arm=$target/aarch64-unknown-linux-gnu/release/intercomd
  # This machine has no ARM libraries that dpkg-shlibdeps could ask, but those of the same release and the same names.
  diff <(needed "$binary") <(needed "$arm") >&2 || die "the two programs need different libraries; name those of arm64 by hand"
  grep '^shlibs:Depends=' "$dist/stage/$own.substvars" >"$dist/stage/arm64.shlibs"
  package "$arm" arm64 "$dist/stage/arm64.shlibs"
}

sources() {
  local name=intercomd-$version stage; stage=$dist/stage/source/intercomd-$version
  say "sources with all crates"
  copy "$stage"
  cp -r web/dist "$stage/web/dist"
  mkdir -p "$stage/.cargo"
  (cd "$stage" && cargo vendor --locked vendor >.cargo/config.toml 2>/dev/null)
  # They build without any network.
  (cd "$stage" && CARGO_HOME=$dist/stage/empty cargo metadata --frozen --format-version 1 >/dev/null) || die "the tarball would not build by itself"
  tar -C "$dist/stage/source" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --mode=u+rwX,go=rX --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -c "$name" |
    xz -6 -T0 --block-size=24MiB >"$dist/$name.tar.xz"
}

sbom() {
  say "bill of materials"
  if [ ! -x "$cache/tools/bin/cargo-cyclonedx" ]; then
    cargo install --quiet --locked --root "$cache/tools" "cargo-cyclonedx@$cyclonedx" >&2
  fi
  "$cache/tools/bin/cargo-cyclonedx" cyclonedx --quiet --format json --target x86_64-unknown-linux-gnu \
    --override-filename intercomd.cdx >&2
  # The SDK comes from elsewhere; time and number would differ each run.
  local sdk; sdk=$(sed -nE 's/.*"@metered-ca\/realtime": "(.*)".*/\1/p' web/package.json)
  jq -S --arg sdk "$sdk" --arg here "$PWD" --arg at "$(date -u -d "@$SOURCE_DATE_EPOCH" +%FT%TZ)" '
    del(.serialNumber) | .metadata.timestamp = $at
    | .components += [{type: "library", "bom-ref": "npm-realtime", group: "@metered-ca", name: "realtime", version: $sdk,
        purl: "pkg:npm/%40metered-ca/realtime@\($sdk)", licenses: [{expression: "MIT"}]}]
    | walk(if type == "string" then gsub("path\\+file://\($here)"; "path+file:///usr/src/intercomd") else . end)
  ' intercomd.cdx.json >"$dist/intercomd-$version.cdx.json"
  rm intercomd.cdx.json
}

# Whoever builds the same commit in another folder, from nothing, is to get the same package.
again() {
  local other=$dist/another/place/for/the/sources package
  packages
  package=$dist/intercomd_${version}_$(dpkg --print-architecture).deb
  rm -rf "$dist/another"; git clone --quiet --no-hardlinks . "$other"
  say "the same commit again, in another folder"
  (cd "$other" && unset CARGO_TARGET_DIR INTERCOMD_BIN && tools/setup.sh dist && tools/dist.sh deb)
  sha256sum "$package" "$other/target/dist/$(basename "$package")"
  cmp "$package" "$other/target/dist/$(basename "$package")" || die "built elsewhere it is another package; diffoscope says in what"
  say "they are the same, byte for byte"
  rm -rf "$dist/another"
}

checksums() {
  (cd "$dist" && find . -maxdepth 1 -type f ! -name SHA256SUMS -printf '%P\0' | sort -z | xargs -0 sha256sum >SHA256SUMS && cat SHA256SUMS)
}

case $what in
  all) clean; rm -f "$dist"/intercomd[-_]*; packages; sbom; sources; checksums ;;
  manual) manual "$(build)" ;;
  deb) packages ;;
  source) sources ;;
  sbom) sbom ;;
  again) clean; again ;;
  *) die "all, manual, deb, source, sbom or again; not '$what'" ;;
esac
