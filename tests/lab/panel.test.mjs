// The panel's lines: the door release is one bounded pulse and never left on, however the daemon ends; and the same
// daemon on a machine that looks like a Raspberry Pi to crate rppal.

import assert from "node:assert/strict";
import { callState } from "../browser/door.mjs";
import { shared } from "./scene.mjs";
import { BUTTON, RELAY } from "./world.mjs";

/** Of the lab's profile, in seconds. */
const PULSE = 1;
const MAX_PULSE = 4;
/** How much shorter a pulse may look: its beginning is seen when `lab-edges` looks next, every 20 ms. */
const SEEN_LATE = 0.05;
/** A Raspberry Pi 4 B, 4 GB, as the kernel there describes it. */
const IDENTITY = "Hardware\t: BCM2711\nRevision\t: c03111\n";
/** Where the registers of its header are, in bytes: functions of lines 20 to 29, set and clear of lines 0 to 31, and their
 * levels (BCM2711 ARM Peripherals, GPFSEL2, GPSET0, GPCLR0, GPLEV0). */
const FUNCTIONS_AT = 8;
const SET_AT = 28;
const CLEAR_AT = 40;
const LEVELS_AT = 52;
const OUTPUT = 1;

/** The relay went on once since so many edges, and off again; gives for how long, in seconds. */
function onlyPulse(world, from) {
  const [on, off, ...more] = world.edges(RELAY).slice(from);
  assert.equal(on?.level, 1);
  assert.equal(off?.level, 0);
  assert.deepEqual(more, [], "once");
  return off.at - on.at;
}

/** Moves the finger where rppal looks: the level in the registers, then the edge at the chip. */
function registered(guest, level) {
  const word = level ? 1 << BUTTON : 0;
  const octal = [0, 8, 16, 24].map((shift) => `\\${((word >>> shift) & 255).toString(8).padStart(3, "0")}`).join("");
  return guest.run(
    `printf '${octal}' | dd of=/dev/gpiomem bs=1 seek=${LEVELS_AT} conv=notrunc status=none
    echo ${level ? "pull-up" : "pull-down"} >/run/gpio/sim_gpio${BUTTON}/pull`,
  );
}

shared(
  "the panel",
  async (lab) => {
    await lab.world.watchLines(RELAY);
    await lab.install();
  },
  (step) => {
    step("the relay rests at the daemon's start", {}, async ({ world }) => {
      assert.equal(world.levels(RELAY), "0");
    });

    step("unlocking is one pulse of bounded length", {}, async ({ world, door }) => {
      const from = world.edges(RELAY).length;
      await door.ctl("unlock");
      await world.untilLevels(RELAY, /10$/, "on and off again");
      const seconds = onlyPulse(world, from);
      // By the guest's clock. The upper limit is a wide one: the guest's processor is interpreted, and daemon and `lab-edges`
      // come late by whatever else this machine does.
      assert.ok(seconds >= PULSE - SEEN_LATE && seconds < MAX_PULSE, `on for ${seconds} s`);
    });

    step("the relay is off after the daemon was killed in the middle of a pulse", {}, async ({ guest, world, door }) => {
      await door.until(({ door }) => door === "locked", "locked again");
      const line = `/run/gpio/sim_gpio${RELAY}`;
      const from = world.edges(RELAY).length;
      // On a chip that lets the line go up when its owner is gone, only the claim of `outputs-off` makes it fall.
      await world.pull(RELAY, "up");
      try {
        assert.equal(await guest.say(`cat ${line}/pull`), "pull-up");
        const pid = await door.unit("MainPID");
        // In the guest: a pulse is short beside the way there.
        await guest.run(
          `intercomd ctl unlock &
          until read -r level <${line}/value && [ "$level" = 1 ]; do sleep 0.02; done
          kill -KILL ${pid}; wait`,
        );
        await world.untilLevels(RELAY, new RegExp(`^.{${from}}10`), "on, and off again");
        onlyPulse(world, from);
        const { at } = world.edges(RELAY)[from + 1];
        await door.until(({ door }) => door === "locked", "started again by systemd, locked");
        onlyPulse(world, from);
        assert.notEqual(await door.unit("MainPID"), pid);
        const started = Number(await door.unit("ExecMainStartTimestampMonotonic")) / 1e6;
        assert.match(await door.log(200), /^relay \(GPIO27\) is off$/m, "by the unit's own word");
        assert.ok(at < started, `off at ${at} s, and only because the next daemon had started at ${started} s`);
      } finally {
        await world.pull(RELAY, "down");
      }
    });

    step("the relay is off after the daemon was stopped in the middle of a pulse", {}, async ({ world, door }) => {
      const from = world.edges(RELAY).length;
      await door.ctl("unlock");
      await world.untilLevels(RELAY, /1$/, "on");
      await door.stop();
      await world.untilLevels(RELAY, /10$/, "off again");
      onlyPulse(world, from);
      assert.equal(await door.unit("ActiveState"), "inactive");
    });

    step("on a Raspberry Pi a press comes through rppal", {}, async ({ guest, door, world }) => {
      await door.stop();
      guest.put("cpuinfo", { text: IDENTITY });
      await guest.run("cp /share/cpuinfo /run/cpuinfo; dd if=/dev/zero of=/dev/gpiomem bs=4096 count=1 status=none; chown root:gpio /dev/gpiomem; chmod 660 /dev/gpiomem");
      await registered(guest, 1);
      await door.change("BindReadOnlyPaths=/run/cpuinfo:/proc/cpuinfo");
      await door.start();
      assert.equal((await door.status()).panel.kind, "rpi");
      await registered(guest, 0);
      await door.until((status) => ["joining", "ringing"].includes(callState(status)), "a ring");
      await registered(guest, 1);
      assert.equal((await door.status()).counters.calls, 1);
      await door.ctl("hangup");
      await door.untilIdle();
      assert.match(world.levels(RELAY), /0$/);
    });

    step("and the relay is set and cleared in its registers", {}, async ({ guest, door }) => {
      assert.equal((await door.status()).panel.kind, "rpi");
      const line = (1 << RELAY).toString(16).padStart(8, "0");
      // There are no lines behind these registers: what was written last stands in each.
      const seen = await guest.say(
        `word() { od -An -tx4 -j$1 -N4 /dev/gpiomem | tr -d ' '; }
        rest() { printf '\\0\\0\\0\\0' | dd of=/dev/gpiomem bs=1 seek=$1 conv=notrunc status=none; }
        word ${FUNCTIONS_AT}; rest ${SET_AT}; rest ${CLEAR_AT}
        intercomd ctl unlock >/dev/null &
        both() { od -An -tx4 -j${SET_AT} -N16 /dev/gpiomem | tr -d ' '; }
        until seen=$(both) && [ "\${seen%????????????????????????}" = ${line} ]; do sleep 0.02; done; echo "\${seen#????????????????????????}"
        until [ "$(word ${CLEAR_AT})" = ${line} ]; do sleep 0.02; done; wait`,
      );
      const [functions, cleared] = seen.trim().split("\n");
      assert.equal((Number.parseInt(functions, 16) >>> (3 * (RELAY - 20))) & 7, OUTPUT);
      assert.equal(cleared, "00000000", "not cleared before it is set");
    });
  },
);
