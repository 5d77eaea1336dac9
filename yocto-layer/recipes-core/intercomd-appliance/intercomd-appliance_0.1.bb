SUMMARY = "What makes an image a door that is left alone for years"
DESCRIPTION = "The state partition and what lies on it, the hardware watchdog, and the login by key only."
HOMEPAGE = "https://example.org/intercomd"
BUGTRACKER = "https://example.org/intercomd/issues"
SECTION = "base"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = " \
    file://10-door.conf \
    file://data-folders.conf \
    file://data.mount \
    file://var-lib-intercomd.mount \
    file://var-lib-systemd-timesync.mount \
"

S = "${UNPACKDIR}"

inherit allarch features_check systemd

REQUIRED_DISTRO_FEATURES = "systemd"

# A file with the keys that may log in as root. Without it nobody can, and no SSH server is installed. The image turns
# passwords off.
INTERCOMD_AUTHORIZED_KEYS ?= ""

SYSTEMD_SERVICE:${PN} = "data.mount var-lib-intercomd.mount var-lib-systemd-timesync.mount"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}/data ${D}${systemd_system_unitdir}
    install -m 0644 ${S}/*.mount ${D}${systemd_system_unitdir}/
    install -D -m 0644 ${S}/10-door.conf ${D}${sysconfdir}/systemd/system.conf.d/10-door.conf
    install -D -m 0644 ${S}/data-folders.conf ${D}${nonarch_libdir}/tmpfiles.d/data-folders.conf
    if [ -n "${INTERCOMD_AUTHORIZED_KEYS}" ]; then
        install -d -m 0700 ${D}${ROOT_HOME}/.ssh
        install -m 0600 ${INTERCOMD_AUTHORIZED_KEYS} ${D}${ROOT_HOME}/.ssh/authorized_keys
    fi
}

FILES:${PN} += " \
    /data \
    ${nonarch_libdir}/tmpfiles.d \
    ${ROOT_HOME} \
    ${systemd_system_unitdir} \
"
