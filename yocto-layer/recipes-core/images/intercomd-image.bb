SUMMARY = "An image that boots into a door"
DESCRIPTION = "Read-only root, a partition for what is kept, hardware watchdog, no password, nobody who can log in without a key."
HOMEPAGE = "https://example.org/intercomd"
BUGTRACKER = "https://example.org/intercomd/issues"
SECTION = "base"
LICENSE = "MIT"

inherit core-image

# overlayfs-etc: the owner's configuration and key lie on the state partition, over the image's own.
IMAGE_FEATURES += "overlayfs-etc read-only-rootfs"
IMAGE_FEATURES += "${@'ssh-server-dropbear' if d.getVar('INTERCOMD_AUTHORIZED_KEYS') else ''}"

OVERLAYFS_ETC_MOUNT_POINT = "/data"
# Mounted before anything that could look for a label.
OVERLAYFS_ETC_DEVICE ?= "/dev/mmcblk0p4"
OVERLAYFS_ETC_FSTYPE = "ext4"
OVERLAYFS_ETC_MOUNT_OPTIONS = "noatime,nosuid,nodev"

IMAGE_INSTALL:append = " \
    intercomd \
    intercomd-appliance \
    intercomd-page \
"
IMAGE_INSTALL:append:rpi = " intercomd-overlays"

WKS_FILE = "intercomd-sd.wks.in"
IMAGE_FSTYPES:append = " wic.bmap wic.xz"

# The bill of materials is written beside the image by create-spdx, which oe-core inherits by itself.
