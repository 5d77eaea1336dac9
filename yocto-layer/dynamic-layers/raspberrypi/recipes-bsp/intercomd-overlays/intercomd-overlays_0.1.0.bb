SUMMARY = "Device-tree overlays for button and lamp"
DESCRIPTION = "board/overlays of intercomd, compiled; which one is used is said in config.txt."
HOMEPAGE = "https://example.org/intercomd"
BUGTRACKER = "https://example.org/intercomd/issues"
SECTION = "bsp"
LICENSE = "Apache-2.0 | MIT"
LIC_FILES_CHKSUM = " \
    file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
    file://LICENSE-MIT;md5=6099cf5013def6e29f066596fc8caf67 \
"

SRC_URI = ""

inherit devicetree externalsrc

EXTERNALSRC = "${INTERCOMD_TREE}"
# Of devicetree.bbclass.
# nooelint: oelint.vars.mispell
DT_FILES_PATH = "${S}/board/overlays"

COMPATIBLE_MACHINE = "^rpi$"
