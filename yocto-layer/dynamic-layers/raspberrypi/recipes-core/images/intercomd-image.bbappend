IMAGE_INSTALL:append:rpi = " intercomd-overlays"

# The firmware looks for what config.txt names on the boot partition, and only there.
IMAGE_BOOT_FILES:append:rpi = " \
    devicetree/intercom-button.dtbo;overlays/intercom-button.dtbo \
    devicetree/intercom-lamp.dtbo;overlays/intercom-lamp.dtbo \
"
# A flag knows no overrides, and for other machines the overlays are not there.
do_image_wic[depends] += "${@'intercomd-overlays:do_deploy' if 'rpi' in d.getVar('OVERRIDES').split(':') else ''}"
