// The door's own sounds, a sound card whose clock runs at a rate of its own, and none at all.

import assert from "node:assert/strict";
import { DOOR_HERTZ, PHONE_HERTZ } from "../browser/signs.mjs";
import { until } from "../browser/wait.mjs";
import { PATIENCE } from "./guest.mjs";
import { MEDIA_MS, shared } from "./scene.mjs";

/** The chime's two strokes, in hertz. */
const [DING, DONG] = [659, 523];
/** How long a clock that is off by 0.2 % is watched, in seconds: it would gather 60 ms. */
const DRIFT_SECONDS = 30;
/** The queue may hold that much more at the end, in ms: less than what would have gathered. */
const MORE_MS = 40;

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
    step("answers a press with a ding and then a dong", { skip: "the chime has no sound yet" }, async ({ world }) => {
      await world.press();
      await world.untilHears(DING, "the ding");
      await world.untilHears(DONG, "the dong");
    });

    for (const [what, shift] of [["fast", 100_200], ["slow", 99_800]]) {
      step(`gathers no delay while the card's clock is ${what} by 0.2 %`, { skip: "the status does not tell the speaker's delay yet" }, async (lab) => {
        const { guest, world, door, caller } = lab;
        await guest.run(`amixer -q -c panel cset iface=PCM,name='PCM Rate Shift 100000' ${shift}`);
        if ((await door.status()).state !== "talking") await lab.talk(caller);
        await world.untilHears(PHONE_HERTZ, "the phone's tone at the door");
        const delay = async () => (await door.status()).media.speaker_delay_ms;
        const first = await delay();
        assert.equal(typeof first, "number");
        // What is waited for is the passing of time itself: a queue that grows needs some.
        const end = Date.now() + DRIFT_SECONDS * 1000;
        await until(() => Date.now() > end, "the time to drift", 2 * DRIFT_SECONDS * 1000);
        const last = await delay();
        assert.ok(last < first + MORE_MS, `the delay grew from ${first} ms to ${last} ms`);
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
