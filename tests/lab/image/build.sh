#!/usr/bin/env bash
# Builds the guest of the hardware lab from packages of this Debian, unless it is in the cache already, and prints the
# folder it is in: `kernel`, `initrd`, `disk`, `tsc` and `kernel-version`. Needs root.
#   build.sh CACHE
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=$1
# The one answer goes where it is asked for; whatever a tool has to say, to where errors go.
exec 3>&1 >&2
mkdir -p "$cache"
# How many images are kept: one for each branch somebody works on.
keep=2

# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")

# What a door needs to run, then what the tests look with.
packages=(
  systemd systemd-sysv udev dbus kmod iproute2
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
  gstreamer1.0-libav gstreamer1.0-alsa gstreamer1.0-x
  gstreamer1.0-tools qemu-guest-agent gpiod v4l-utils alsa-utils
)
# Modules the guest may load; those it needs come along.
modules=(
  ext4 virtio_blk virtio_pci virtio_net virtio_console virtio_rng virtio-gpu 9p 9pnet_virtio
  vivid vicodec snd-aloop gpio-sim vkms softdog autofs4
)
boot_modules=(virtio_pci virtio_blk crc32c_generic ext4)
# Nothing of it has a use in a guest that lives for a minute.
masked=(
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
  getty@tty1.service serial-getty@ttyS0.service systemd-timesyncd.service systemd-pstore.service systemd-binfmt.service
  proc-sys-fs-binfmt_misc.automount systemd-hwdb-update.service alsa-restore.service alsa-state.service systemd-random-seed.service systemd-update-utmp.service
)

began=$SECONDS
say() { printf 'lab image, %s s: %s\n' $((SECONDS - began)) "$*" >&2; }
die() { say "$*"; exit 1; }
candidate() { apt-cache policy "$1" | sed -nE 's/^ +Candidate: (.*)/\1/p'; }

# Sets `kernel`, `kernel_version` and `key`: everything the image is made of.
find_key() {
  kernel=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -nE 's/^ *Depends: linux-image-([0-9].*)/\1/p' | head -n 1)
  [ -n "$kernel" ] || return 1
  kernel_version=$(candidate "linux-image-$kernel")
  key=$({
    cd "$here"; find . -type f -print0 | sort -z | xargs -0 sha256sum
    echo "$suite $kernel $kernel_version"
    apt-cache policy "${packages[@]}" | grep -E '^[a-z]|Candidate:'
  } | sha256sum | cut -c1-16)
}

refresh() { apt-get update -qq || say "the package lists could not be refreshed; going on with those there are"; }

find_key || { refresh; find_key || die "apt knows no linux-image-amd64; this needs Debian on amd64"; }
image=$cache/$key
exec 9>"$cache/lock"
flock 9
if [ ! -d "$image" ]; then
  refresh; find_key; image=$cache/$key
fi
if [ -d "$image" ]; then
  touch "$image"; say "cached, $image"; echo "$image" >&3; exit
fi

source_package=linux-source-$(echo "$kernel" | cut -d. -f1,2)
[ "$(candidate "$source_package")" = "$kernel_version" ] ||
  die "$source_package is not of the version of linux-image-$kernel; run apt-get update, or wait until the archive is whole"
work=$(mktemp -d "$cache/making.XXXXXX")
# shellcheck disable=SC2046
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM

say "making $image with kernel $kernel_version"
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  -o DPkg::Lock::Timeout=600 "linux-headers-$kernel=$kernel_version" >/dev/null
say "kernel headers are there"

# In a mount and process namespace of its own: what it mounts below the new root vanishes with it, however it ends, so
# that nobody ever deletes through such a mount.
bootstrap() {
  local sources=("$suite" "$work/root") file list
  for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    if [ -s "$file" ]; then sources+=("$file"); break; fi
  done
  list=$(IFS=,; echo "${packages[*]}")
  exec unshare --mount --pid --fork --mount-proc --kill-child \
    mmdebstrap --mode=root --variant=minbase --quiet --include="$list" \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='force-unsafe-io' --format=directory "${sources[@]}" >"$work/bootstrap.log" 2>&1
}

fetch_kernel() {
  mkdir "$work/debs"
  (cd "$work/debs"; apt-get download -qq "linux-image-$kernel=$kernel_version" "$source_package=$kernel_version" 2>/dev/null)
  dpkg-deb -x "$work"/debs/linux-image-*.deb "$work/kernel-files"
  "$here/drivers.sh" "$kernel" "$work/debs/$source_package"_*.deb "$work/kernel-files/lib/modules/$kernel/extra"
  depmod -b "$work/kernel-files" "$kernel"
  say "drivers are compiled"
}

bootstrap & bootstrapping=$!
fetch_kernel & fetching=$!
wait $fetching || die "no kernel: see above"
wait $bootstrapping || { tail -n 20 "$work/bootstrap.log" >&2; die "mmdebstrap failed: see above"; }
say "packages are unpacked"

modules_with_needs() {
  local module
  for module in "$@"; do
    modprobe -d "$work/kernel-files" -S "$kernel" --show-depends "$module" | sed -nE 's/^insmod ([^ ]+).*/\1/p'
  done | awk '!seen[$0]++'
}

root=$work/root
while read -r path; do
  install -D -m 644 "$path" "$root/usr/lib/modules/$kernel/${path#*/modules/"$kernel"/}"
done < <(modules_with_needs "${modules[@]}")
cp "$work/kernel-files/lib/modules/$kernel"/modules.{builtin,builtin.modinfo,order} "$root/usr/lib/modules/$kernel/"
depmod -b "$root" "$kernel"
cp -r --preserve=mode "$here/guest/." "$root/"
echo door >"$root/etc/hostname"
echo '127.0.0.1 localhost door' >"$root/etc/hosts"
: >"$root/etc/fstab"
for unit in "${masked[@]}"; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
systemctl --root="$root" --quiet enable lab-world.service
systemctl --root="$root" --quiet set-default multi-user.target

boot=$work/boot
mkdir -p "$boot"/{bin,modules,root,proc,sys,dev}
cp /bin/busybox "$boot/bin/"
cp "$here/init" "$boot/init"
while read -r path; do
  cp "$path" "$boot/modules/"; basename "$path" >>"$boot/modules/order"
done < <(modules_with_needs "${boot_modules[@]}")

made=$work/made
mkdir "$made"
(cd "$boot" && find . | cpio --quiet -o -H newc | gzip -1) >"$made/initrd"
cp "$work/kernel-files/boot/vmlinuz-$kernel" "$made/kernel"
echo "$kernel_version" >"$made/kernel-version"
gcc -O2 -o "$made/tsc" "$here/tsc.c"
megabytes=$(($(du -sm "$root" | cut -f1) * 115 / 100 + 300))
mke2fs -q -t ext4 -O '^has_journal' -N 80000 -d "$root" "$made/disk" "${megabytes}M"
mv "$made" "$image"
say "made: $(du -sm "$image" | cut -f1) MB"
# Work that was broken off, and images nobody has used for longest.
find "$cache" -mindepth 1 -maxdepth 1 -name 'making.*' ! -path "$work" -exec rm -rf --one-file-system {} +
find "$cache" -mindepth 1 -maxdepth 1 -type d ! -name 'making.*' -printf '%T@ %p\n' | sort -rn | cut -d' ' -f2- |
  tail -n +$((keep + 1)) | xargs -r rm -rf --one-file-system
echo "$image" >&3
