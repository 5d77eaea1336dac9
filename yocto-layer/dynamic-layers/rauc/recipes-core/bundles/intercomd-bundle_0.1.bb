SUMMARY = "Update of a door: a whole system for the slot that does not run"
DESCRIPTION = "Signed, checked before it is written, and given up by itself if the door does not come up with it."
HOMEPAGE = "https://example.org/intercomd"
BUGTRACKER = "https://example.org/intercomd/issues"
SECTION = "base"
LICENSE = "MIT"

# There is nothing to fetch: it is made of the image.
SRC_URI = ""

inherit bundle

RAUC_BUNDLE_COMPATIBLE = "intercomd-${MACHINE}"
RAUC_BUNDLE_VERSION = "${DISTRO_VERSION}"
RAUC_BUNDLE_DESCRIPTION = "intercomd"
RAUC_BUNDLE_FORMAT = "verity"

RAUC_BUNDLE_SLOTS = "rootfs"
RAUC_SLOT_rootfs = "intercomd-image"
RAUC_SLOT_rootfs[fstype] = "ext4"

# Both of your own, kept away from the checkout: RAUC_KEY_FILE and RAUC_CERT_FILE in local.conf.
