#!/usr/bin/env bash
# What can be tried of the layer without oe-core, whose sources no CI of ours reaches. Prints "ok" or "FAILED" for each
# check and "end" at the end; `make test-install` runs it.
#   yocto-layer/tests/run.sh quick    what fetches and parses nothing; `make test` runs that
set -uo pipefail
cd "$(dirname "$0")/../.."
bin=$PWD/target/yocto-python/bin
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
check() {
  local name=$1; shift
  if "$@" >"$work/out" 2>&1; then printf 'ok      %s\n' "$name"; else printf 'FAILED  %s\n' "$name"; sed 's/^/        /' "$work/out" | tail -n 40; fi
}

check "the list of crates is that of Cargo.lock" tools/yocto-crates.sh --check
wrong_lock() { sed 's/^version = "0\.5\.2"$/version = "0.5.3"/' Cargo.lock >"$work/wrong/Cargo.lock" && ! "$work/wrong/tools/yocto-crates.sh" --check; }
mkdir -p "$work/wrong/yocto-layer/recipes-intercomd/intercomd" "$work/wrong/tools"
cp tools/yocto-crates.sh "$work/wrong/tools/"; cp yocto-layer/recipes-intercomd/intercomd/*.inc "$work/wrong/yocto-layer/recipes-intercomd/intercomd/"
check "and would not pass for another" wrong_lock
same_version() { diff <(sed -nE '0,/^version/s/^version *= *"(.*)"/\1/p' Cargo.toml) <(ls yocto-layer/recipes-intercomd/intercomd/ | sed -nE 's/^intercomd_(.*)\.bb/\1/p'); }
check "the recipe has the version of Cargo.toml" same_version
same_sdk() { diff <(sed -nE 's/.*"@metered-ca\/realtime": "(.*)".*/\1/p' web/package.json) <(ls yocto-layer/recipes-intercomd/metered-realtime/ | sed -nE 's/^metered-realtime_(.*)\.bb/\1/p'); }
check "and the SDK that web/package.json pins" same_sdk
# The function of the recipe itself, run as do_install would.
page=$work/image/usr/share/intercomd/web
install_page() (
  S=$PWD D=$work/image datadir=/usr/share
  eval "$(sed -n '/^install_page() {$/,/^}$/p' yocto-layer/recipes-intercomd/intercomd/intercomd_*.bb)"
  rm -rf "$D"; install_page
)
contents() { (cd "$1" && find . -type f -not -path './vendor/*' | sort); }
same_page() { install_page && diff <(contents web/dist) <(contents "$page"); }
check "the recipe's page is that of web/build.mjs, with its folders" same_page
without_folders() { rm -r "$page/lang" && ! diff <(contents web/dist) <(contents "$page"); }
check "and would not pass without one of them" without_folders
# Where oe-core looks since wrynose, and nowhere else.
layout() { [ -f "yocto-layer/files/wic/$(sed -nE 's/^WKS_FILE = "(.*)"/\1/p' yocto-layer/recipes-core/images/intercomd-image.bb)" ]; }
check "the image's partitions are described where they are looked for" layout
licences() { grep -ohE 'file://LICENSE-[A-Z]+;md5=[0-9a-f]+' -r yocto-layer --include='*.bb' | sort -u | sed -E 's,file://(.*);md5=(.*),\2  \1,' | md5sum -c; }
check "the licences are those the recipes were written for" licences
if [ "${1:-}" != quick ]; then
check "bitbake's parser reads every recipe, and every crate is fetched with its checksum" "$bin/python" yocto-layer/tests/parse.py yocto-layer yocto-layer/tests/stub-core "$work/build"
grep -hE '^[0-9]+ (crates|recipes)' "$work/out" | sed 's/^/        /'
mkdir -p "$work/home"
printf '[source.bitbake]\ndirectory = "%s"\n[source.crates-io]\nreplace-with = "bitbake"\n' "$work/build/sources/cargo_home/bitbake" >"$work/home/config.toml"
check "from these crates alone cargo resolves the program offline" env CARGO_HOME="$work/home" cargo metadata --frozen --format-version 1
fi
recipes=$(find yocto-layer -name '*.bb' -o -name '*.bbappend' -o -path '*/conf/*' -name '*.conf' -not -path '*/stub-core/*' -o -name '*.inc' | grep -v stub-core | sort)
# Left out: what asks the network; what fights the lay-out of a list with one entry a line; overrides and variables of
# meta-raspberrypi and meta-rauc; a licence text of oe-core's; the name for CVEs, of which there are none.
# shellcheck disable=SC2086
check "oelint-adv has nothing to say" "$bin/oelint-adv" --quiet --release wrynose --suppress oelint.vars.homepageping \
  --suppress oelint.vars.inconspaces --suppress oelint.vars.notneededspace --suppress oelint.vars.specific \
  --suppress oelint.vars.noncoreoverride --suppress oelint.vars.mispell.unknown --suppress oelint.var.licenseremotefile \
  --suppress oelint.var.suggestedvar.CVE_PRODUCT --suppress oelint.var.bbclassextend $recipes
schema() { "$bin/python" -c '
import glob, json, os, sys, jsonschema, kas, yaml
schema = json.load(open(os.path.join(os.path.dirname(kas.__file__), "schema-kas.json")))
files = glob.glob("yocto-layer/kas/*.yml")
for file in files:
    document = yaml.safe_load(open(file))
    jsonschema.validate(document, schema)
    for other in document["header"].get("includes", []):
        assert os.path.exists(other), f"{file}: {other} is not there"
assert len(files) >= 4, files'; }
check "kas files are of kas's schema, and include what is there" schema
units() {
  local unit said
  for unit in yocto-layer/recipes-core/intercomd-appliance/files/*.mount; do
    said=$(systemd-analyze verify --man=no "$unit" 2>&1 | grep -vE 'systemd-fsck|Failed to prepare filename|not executable' || true)
    [ -z "$said" ] || { echo "$said"; return 1; }
    grep -q "^Where=$(systemd-escape --unescape --path "$(basename "$unit" .mount)")\$" "$unit" || { echo "$unit: Where= is not its name"; return 1; }
  done
}
check "systemd takes the image's mounts, and each has the name of its place" units
echo end
