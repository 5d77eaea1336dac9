// Crate rppal on a machine that looks like a Raspberry Pi 4 to it: processor text, chip label, and the registers of the
// header as a file. Edges come from the GPIO chip as on a board.

import assert from "node:assert/strict";
import { callState } from "../browser/door.mjs";
import { scene } from "./scene.mjs";
import { BUTTON } from "./world.mjs";

/** A Raspberry Pi 4 B, 4 GB, as the kernel there describes it. */
const IDENTITY = "Hardware\t: BCM2711\nRevision\t: c03111\n";
/** Where the registers have the levels of lines 0 to 31, in bytes (BCM2711 ARM Peripherals, GPLEV0). */
const LEVELS_AT = 52;

/** Moves the finger, in the registers and at the chip. */
function button(guest, level) {
  const word = level ? (1 << BUTTON) >>> 0 : 0;
  const octal = [0, 8, 16, 24].map((shift) => `\\${((word >>> shift) & 255).toString(8).padStart(3, "0")}`).join("");
  return guest.run(
    `printf '${octal}' | dd of=/dev/gpiomem bs=1 seek=${LEVELS_AT} conv=notrunc status=none
    echo ${level ? "pull-up" : "pull-down"} >/run/gpio/sim_gpio${BUTTON}/pull`,
  );
}

scene("on a Raspberry Pi a press comes through rppal", {}, async (lab) => {
  const { guest } = lab;
  await lab.install({ start: false });
  guest.put("cpuinfo", { text: IDENTITY });
  await guest.run(
    `cp /share/cpuinfo /run/cpuinfo
    dd if=/dev/zero of=/dev/gpiomem bs=4096 count=1 status=none && chown root:gpio /dev/gpiomem && chmod 660 /dev/gpiomem
    mkdir -p /etc/systemd/system/intercomd.service.d
    printf '[Service]\\nBindReadOnlyPaths=/run/cpuinfo:/proc/cpuinfo\\n' >/etc/systemd/system/intercomd.service.d/raspberry.conf
    systemctl daemon-reload`,
  );
  await button(guest, 1);
  await lab.door.start();
  const { panel } = await lab.door.status();
  assert.equal(panel.kind, "rpi");
  await button(guest, 0);
  await lab.door.until((status) => ["joining", "ringing"].includes(callState(status)), "a ring");
  await button(guest, 1);
  const { counters } = await lab.door.status();
  assert.equal(counters.calls, 1);
  await lab.door.ctl("hangup");
  await lab.door.untilIdle();
});
