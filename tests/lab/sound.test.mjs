// The door's own sounds, and a door without a sound card.

import assert from "node:assert/strict";
import { until } from "../browser/wait.mjs";
import { MEDIA_MS, shared } from "./scene.mjs";

/** The chime's two strokes, in hertz. */
const [DING, DONG] = [659, 523];

shared(
  "a door with a sound card",
  async (lab) => {
    const { world } = lab;
    await lab.install();
    await world.showBars();
    await world.speak();
    await world.listen();
    await until(() => world.heard() > 0, "a listening visitor", MEDIA_MS);
  },
  (step) => {
    // No phone yet: two processors that simulate a machine do not carry a browser beside a call's beginning, and sound that
    // comes too late for its card is not played.
    step("answers a press with a ding and then a dong, phone or not", {}, async ({ world }) => {
      await world.press();
      // Only the newest seconds are listened to, so that one of the two must not be waited for first.
      await Promise.all([world.untilHears(DING, "the ding"), world.untilHears(DONG, "the dong")]);
    });

    step("without the card it starts, says so, and its calls have pictures", {}, async (lab) => {
      const { guest, world, door } = lab;
      await door.stop();
      await world.silence();
      await guest.run("modprobe -r snd-aloop");
      await door.start();
      const caller = await lab.watchingPhone();
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
