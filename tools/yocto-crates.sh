#!/usr/bin/env bash
# Writes the crates of Cargo.lock with their checksums where the Yocto recipe looks for them.
#   tools/yocto-crates.sh            writes yocto-layer/recipes-intercomd/intercomd/intercomd-crates.inc
#   tools/yocto-crates.sh --check    ends with 1 if that file is not what Cargo.lock says
set -euo pipefail
cd "$(dirname "$0")/.."
inc=yocto-layer/recipes-intercomd/intercomd/intercomd-crates.inc

# CRATES is the registry's host, set in the recipe.
make() {
  awk -F'"' '
    BEGIN { print "# Made of Cargo.lock by tools/yocto-crates.sh.\n\nSRC_URI += \" \\" }
    /^\[\[package\]\]/ { name = version = "" }
    /^name = / { name = $2 }
    /^version = / { version = $2 }
    /^checksum = / {
      print "    crate://${CRATES}/" name "/" version " \\"
      sums[++count] = "SRC_URI[" name "-" version ".sha256sum] = \"" $2 "\""
    }
    END { print "\"\n"; for (at = 1; at <= count; at++) print sums[at] }
  ' Cargo.lock
}

case ${1:-} in
  "") make >"$inc"; echo "$inc: $(grep -c '^SRC_URI\[' "$inc") crates" ;;
  --check) make | diff "$inc" - || { echo "run tools/yocto-crates.sh and commit what it writes" >&2; exit 1; } ;;
  *) echo "nothing, or --check; not '$1'" >&2; exit 2 ;;
esac
