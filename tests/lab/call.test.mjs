// A whole call through the kernel's devices: pressed on a GPIO line, seen by a V4L2 camera, heard and played by an ALSA
// card, shown on a KMS screen.

import assert from "node:assert/strict";
import { callState } from "../browser/door.mjs";
import { DOOR_HERTZ, PHONE_HERTZ } from "../browser/signs.mjs";
import { MEDIA_MS, scene } from "./scene.mjs";
import { CHIME, LAMP, RELAY } from "./world.mjs";

scene("a press rings the phone, both see and hear each other, the door opens once, and after the call everything is at rest", {}, async (lab) => {
  const { guest, world } = lab;
  await lab.install();
  await world.showBars();
  await world.speak();
  await world.listen();
  await world.watchLines(LAMP, CHIME, RELAY);
  const phone = await lab.watchingPhone();
  assert.equal(await world.cameraUsers(), "", "an idle door does not look");

  await world.press();
  await phone.untilState("ringing", MEDIA_MS);
  await world.untilLevels(CHIME, /^010$/, "one stroke on the chime's line");
  await world.untilLevels(LAMP, /^01/, "a lamp that is lit");
  await lab.untilVisitorSeen(phone);
  assert.equal(await world.cameraUsers(), "intercomd");

  await phone.page.click("#answer");
  await phone.untilState("talking", MEDIA_MS);
  await phone.untilHeard("#visitor", DOOR_HERTZ, MEDIA_MS);
  await lab.untilVisitorSeen(phone);
  await lab.untilScreenShowsThePhone();
  await world.untilHears(PHONE_HERTZ, "the phone's tone in the door's speaker");
  const { peers, media } = await lab.door.until((status) => callState(status) === "talking", "talking");
  assert.equal(peers[0].link, "connected");
  assert.equal(media.encoder, "x264enc");

  assert.equal(world.levels(RELAY), "0", "nobody released the door yet");
  await lab.door.ctl("unlock");
  await world.untilLevels(RELAY, /^010$/, "one pulse of the door release");

  await lab.hangUp(phone);
  await lab.assertIdle();
  await world.untilLevels(LAMP, /0$/, "a lamp that is dark again");
  assert.equal(world.levels(CHIME), "010", "one ring was one stroke");
  assert.equal(world.levels(RELAY), "010", "one release was one pulse");
  assert.equal(await lab.door.unit("NRestarts"), "0");
  assert.deepEqual(phone.errors, []);
  await guest.run("systemctl is-active --quiet intercomd");
});
