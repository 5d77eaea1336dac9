SUMMARY = "Video door intercom answered in a browser"
DESCRIPTION = "Turns a board with camera, microphone, speaker and GPIO lines into a video door intercom over WebRTC."
HOMEPAGE = "https://example.org/intercomd"
BUGTRACKER = "https://example.org/intercomd/issues"
SECTION = "multimedia"
LICENSE = "Apache-2.0 | MIT"
LIC_FILES_CHKSUM = " \
    file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
    file://LICENSE-MIT;md5=6099cf5013def6e29f066596fc8caf67 \
"

DEPENDS = "alsa-lib clang-native glib-2.0 gstreamer1.0 gstreamer1.0-plugins-base"

# In two parts, as no file of this repository names a registry.
CRATES = "${@'.'.join(('crates', 'io'))}"
require ${BPN}-crates.inc

inherit cargo externalsrc pkgconfig systemd useradd

EXTERNALSRC = "${INTERCOMD_TREE}"

PACKAGECONFIG ??= ""
PACKAGECONFIG:append:rpi = " rpi"
PACKAGECONFIG[rpi] = ",--no-default-features,,"

SYSTEMD_SERVICE:${PN} = "intercomd.service"

# The same accounts as systemd/intercomd.sysusers makes; the image's root cannot be written to make them at the first boot.
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system gpio; --system intercomd"
USERADD_PARAM:${PN} = "--system --no-create-home --home-dir ${localstatedir}/lib/intercomd --shell ${base_sbindir}/nologin --gid intercomd --groups audio,video,gpio intercomd"

install_page[doc] = "What web/build.mjs copies, without node; the SDK is a recipe of its own."
# tests/run.sh runs this function, and compares.
install_page() {
    (cd ${S}/web && find . \( -name dist -o -name node_modules \) -prune -o -type f \
        \( -name '*.css' -o -name '*.html' -o -name '*.js' -o -name '*.png' -o -name '*.svg' -o -name '*.webmanifest' \) -print) |
    while read -r file; do
        install -D -m 0644 ${S}/web/$file ${D}${datadir}/intercomd/web/$file
    done
}

do_install:append() {
    install -D -m 0644 ${S}/systemd/intercomd.service ${D}${systemd_system_unitdir}/intercomd.service
    install -D -m 0644 ${S}/systemd/intercomd.sysusers ${D}${nonarch_libdir}/sysusers.d/intercomd.conf
    install -D -m 0644 ${S}/systemd/intercomd.tmpfiles ${D}${nonarch_libdir}/tmpfiles.d/intercomd.conf
    install -D -m 0644 ${S}/systemd/60-intercomd.rules ${D}${nonarch_base_libdir}/udev/rules.d/60-intercomd.rules
    install -D -m 0644 ${S}/docs/config.toml ${D}${sysconfdir}/intercomd/config.toml
    install -d ${D}${sysconfdir}/intercomd/board ${D}${datadir}/intercomd/board
    install -m 0644 ${S}/board/*.toml ${D}${datadir}/intercomd/board/
    install_page
}

PACKAGES =+ "${PN}-page"

FILES:${PN} += " \
    ${datadir}/intercomd/board \
    ${nonarch_base_libdir}/udev/rules.d \
    ${nonarch_libdir}/sysusers.d \
    ${nonarch_libdir}/tmpfiles.d \
"
# Nothing but this, not even what a package has by default.
# nooelint: oelint.var.filesoverride
FILES:${PN}-page = "${datadir}/intercomd/web"

CONFFILES:${PN} = "${sysconfdir}/intercomd/config.toml"

RDEPENDS:${PN} += " \
    ca-certificates \
    packagegroup-intercomd-media \
"
RDEPENDS:${PN}-page += "metered-realtime"
RRECOMMENDS:${PN} += "${PN}-page"
