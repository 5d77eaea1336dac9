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

WKS_FILE = "intercomd-sd.wks.in"
# ext4: what an update of RAUC is made of.
IMAGE_FSTYPES:append = " ext4 wic.bmap wic.xz"

dropbear_takes_keys_only[doc] = "Turns passwords off in the SSH server."
# Done here, because the file is one of dropbear's own package. No more than this line: another says where the host's keys lie.
dropbear_takes_keys_only() {
    sed -i '/^DROPBEAR_EXTRA_ARGS=/d' ${IMAGE_ROOTFS}${sysconfdir}/default/dropbear
    echo 'DROPBEAR_EXTRA_ARGS="-s"' >> ${IMAGE_ROOTFS}${sysconfdir}/default/dropbear
}
ROOTFS_POSTPROCESS_COMMAND += "${@'dropbear_takes_keys_only' if d.getVar('INTERCOMD_AUTHORIZED_KEYS') else ''}"

# The bill of materials is written beside the image by create-spdx, which oe-core inherits by itself.
