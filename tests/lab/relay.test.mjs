// The door release on a GPIO line: one bounded pulse, and never left on, however the daemon ends.

import assert from "node:assert/strict";
import { shared } from "./scene.mjs";
import { RELAY } from "./world.mjs";

/** Of the lab's profile, in seconds. */
const MAX_PULSE = 4;
const todo = "intercomd ctl unlock is not there yet";

/** The relay went on once since `from` edges, and off again. */
function onlyPulse(world, from) {
  const [on, off, ...more] = world.edges(RELAY).slice(from);
  assert.equal(on?.level, 1);
  assert.equal(off?.level, 0);
  assert.deepEqual(more, [], "once");
  return off.at - on.at;
}

shared(
  "the door release",
  async (lab) => {
    await lab.install();
    await lab.world.watchLines(RELAY);
  },
  (step) => {
    step("rests at the daemon's start", {}, async ({ world }) => {
      assert.equal(world.levels(RELAY), "0");
    });

    step("is one pulse of bounded length when somebody unlocks", { todo }, async ({ world, door }) => {
      const from = world.edges(RELAY).length;
      await door.ctl("unlock");
      await world.untilLevels(RELAY, /10$/, "on and off again");
      const seconds = onlyPulse(world, from);
      assert.ok(seconds > 0.5 && seconds < MAX_PULSE, `on for ${seconds} s`);
    });

    step("is off after the daemon was killed in the middle of a pulse", { todo }, async ({ world, door }) => {
      const from = world.edges(RELAY).length;
      await door.until(({ door }) => door === "locked", "locked again");
      await door.ctl("unlock");
      await world.untilLevels(RELAY, /1$/, "on");
      await door.kill();
      await world.untilLevels(RELAY, /10$/, "off again");
      onlyPulse(world, from);
      assert.match(await door.unit("ExecStopPost"), /status=0/, "the unit itself switched it off");
      await door.until(({ door }) => door === "locked", "started again by systemd, locked");
      assert.match(world.levels(RELAY), /10$/, "starting again does not touch it");
    });

    step("is off after the daemon was stopped in the middle of a pulse", { todo }, async ({ world, door }) => {
      const from = world.edges(RELAY).length;
      await door.ctl("unlock");
      await world.untilLevels(RELAY, /1$/, "on");
      await door.stop();
      await world.untilLevels(RELAY, /10$/, "off again");
      onlyPulse(world, from);
      assert.equal(await door.unit("ActiveState"), "inactive");
    });
  },
);
