// The door's own sounds, a sound card whose clock runs at a rate of its own, and none at all.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DOOR_HERTZ, PHONE_HERTZ } from "../browser/signs.mjs";
import { until } from "../browser/wait.mjs";
import { slide } from "./drift.mjs";
import { MEDIA_MS, shared } from "./scene.mjs";
import { EAR_BYTES, EAR_RATE } from "./world.mjs";

/** The chime's two strokes, in hertz. */
const [DING, DONG] = [659, 523];
/** How much too fast or too slow a clock is here: forty times what a bad crystal does, so that little time tells much. */
const OFF = 0.04;
/** How long it is listened to, in seconds of its own: it gathers or lacks 0.8 s. */
const DRIFT_SECONDS = 20;
/** Between the middles of the first and the last quarter of it lies this share. */
const JUDGED = 0.75;

test("sliding beeps are told from steady ones", () => {
  for (const stretch of [1, 1 + OFF, 1 - OFF]) {
    const samples = Float32Array.from({ length: DRIFT_SECONDS * EAR_RATE }, (_, n) => {
      const at = n / EAR_RATE / stretch;
      return at % 0.5 < 0.32 ? Math.sin(2 * Math.PI * PHONE_HERTZ * at) : 0;
    });
    const wanted = DRIFT_SECONDS * (stretch - 1) * JUDGED;
    assert.ok(Math.abs(slide(samples, EAR_RATE) - wanted) < 0.011, `${stretch}: ${slide(samples, EAR_RATE)} s`);
  }
  assert.equal(slide(new Float32Array(EAR_RATE), EAR_RATE), null, "silence tells nothing");
});

shared(
  "a door with a sound card",
  async (lab) => {
    const { world } = lab;
    await lab.install();
    await world.showBars();
    await world.speak();
    await world.listen();
    await until(() => world.heard() > 0, "a listening visitor", MEDIA_MS);
    lab.caller = await lab.watchingPhone();
  },
  (step) => {
    step("answers a press with a ding and then a dong", {}, async ({ world }) => {
      await world.press();
      // Only the newest seconds are listened to, so that one of the two must not be waited for first.
      await Promise.all([world.untilHears(DING, "the ding"), world.untilHears(DONG, "the dong")]);
    });

    for (const [what, shift] of [["fast", 1 + OFF], ["slow", 1 - OFF]]) {
      step(`gathers no delay while the card's clock is ${what}`, {}, async (lab) => {
        const { guest, world, door, caller } = lab;
        await guest.run(`amixer -q -c panel cset iface=PCM,name='PCM Rate Shift 100000' ${Math.round(shift * 100_000)}`);
        if ((await door.status()).state !== "talking") await lab.talk(caller);
        await world.untilHears(PHONE_HERTZ, "the phone's tone at the door");
        const from = world.heard();
        await until(() => world.heard() - from > DRIFT_SECONDS * EAR_RATE * EAR_BYTES, "enough sound to judge", 4 * DRIFT_SECONDS * 1000);
        const slid = slide(world.recording(from), EAR_RATE);
        // Beeps that do not slide in the card's own time are played one for one: what is too much is gathering.
        const wanted = DRIFT_SECONDS * (shift - 1) * JUDGED;
        console.log(`DRIFT ${what}: slid by ${slid} s, wanted ${wanted}`);
        assert.ok(Math.abs(slid - wanted) < Math.abs(wanted) * 0.6, `slid by ${slid} s in ${DRIFT_SECONDS} s, should be ${wanted} s`);
        await world.untilHears(PHONE_HERTZ, "the phone's tone at the door, still", world.heard());
        await caller.untilHeard("#visitor", DOOR_HERTZ, MEDIA_MS);
      });
    }

    step("without the card it starts, says so, and its calls have pictures", {}, async (lab) => {
      const { guest, world, door, caller } = lab;
      await door.stop();
      await world.silence();
      await guest.run("modprobe -r snd-aloop");
      await door.start();
      await caller.untilState("armed", MEDIA_MS);
      await lab.talk(caller);
      await lab.untilVisitorSeen(caller);
      await lab.untilScreenShowsThePhone();
      const { media } = await door.status();
      assert.match(media.speaker, /none|no /);
      assert.doesNotMatch(media.microphone, /CARD/);
      await lab.hangUp(caller);
      await lab.assertIdle();
    });
  },
);
