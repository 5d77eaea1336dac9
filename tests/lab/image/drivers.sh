#!/usr/bin/env bash
# Compiles the simulated devices that Debian's kernel leaves out, from Debian's own source of that very kernel:
# GPIO chip, V4L2 codec, KMS display.
#   drivers.sh KERNEL SOURCE_DEB FOLDER     puts *.ko into FOLDER; needs linux-headers-KERNEL and a compiler
set -euo pipefail
kernel=$1; source_deb=$2; out=$3
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
tree=linux-source-$(basename "$source_deb" | sed -nE 's/^linux-source-([0-9.]+)_.*/\1/p')

dpkg-deb --fsys-tarfile "$source_deb" | tar -xO "./usr/src/$tree.tar.xz" | xz -dc -T0 |
  tar -x -C "$work" --strip-components=1 --wildcards \
    "$tree/drivers/gpio/gpio-sim.c" "$tree/drivers/gpio/gpiolib.h" "$tree/kernel/irq/irq_sim.c" \
    "$tree/drivers/media/v4l2-core/v4l2-mem2mem.c" "$tree/drivers/media/test-drivers/vicodec/*" \
    "$tree/drivers/gpu/drm/vkms/*"

cd "$work"
mkdir gpio mem2mem
mv drivers/gpio/* kernel/irq/irq_sim.c gpio/
mv drivers/media/v4l2-core/v4l2-mem2mem.c mem2mem/
mv drivers/media/test-drivers/vicodec drivers/gpu/drm/vkms .
# Part of the kernel itself elsewhere: as a module it needs a licence, and may use exported functions only.
sed -i -e 's,#include <linux/irq.h>,&\n#include <linux/module.h>,' \
  -e 's/irq_to_desc(irqnum)/irq_data_to_desc(irq_get_irq_data(irqnum))/' gpio/irq_sim.c
echo 'MODULE_LICENSE("GPL");' >>gpio/irq_sim.c
echo 'obj-m += irq_sim.o gpio-sim.o' >gpio/Kbuild
echo 'obj-m += v4l2-mem2mem.o' >mem2mem/Kbuild
echo 'obj-m += gpio/ mem2mem/ vicodec/ vkms/' >Kbuild
make -s -j"$(nproc)" -C "/lib/modules/$kernel/build" M="$work" CONFIG_VIDEO_VICODEC=m CONFIG_DRM_VKMS=m modules 2>&1 |
  sed '/^Skipping BTF generation/d' >&2
mkdir -p "$out"
for module in gpio/irq_sim gpio/gpio-sim mem2mem/v4l2-mem2mem vicodec/vicodec vkms/vkms; do
  strip --strip-debug -o "$out/${module#*/}.ko" "$module.ko"
done
