// The door of the soak: the real daemon with a test picture and tone, watched over its control socket.

import assert from "node:assert/strict";
import { Door } from "../browser/door.mjs";
import { DOOR_CAMERA, DOOR_MICROPHONE } from "../browser/signs.mjs";
import { until } from "../browser/wait.mjs";
import { Control } from "./control.mjs";

export const RING_MS = 15_000;
export const ANSWER_MS = 15_000;
export const FLOW_MS = 20_000;
export const END_MS = 30_000;
/** Between two looks at the status: what comes by no event is looked for often, as a call is short. */
const SOON_MS = 15;
/** What a call costs the daemon is the same as with real devices; what it shows and plays goes nowhere. */
const BOARD = `name = "soak"

[panel]
kind = "sim"

[lamp]
line = "LAMP"

[camera]
pipeline = "${DOOR_CAMERA}"
size = [640, 480]
rate = 15

[microphone]
pipeline = "${DOOR_MICROPHONE}"
echo_cancel = "off"
noise_suppression = false
gain_control = false

[display]
pipeline = "fakesink sync=true"

[speaker]
pipeline = "fakesink sync=true"
`;
const RULES = `no_answer = "5s"
linger = "1s"
press_ends_call = true`;
/** Few, so that the log of calls is as long as it gets soon, and what grows is not the log. */
const LOG = `
[log]
entries = 20
`;

/** A door, and a watch on it. */
export async function openDoor() {
  // As the unit has it.
  process.env.INTERCOMD_LOG ??= "info";
  process.env.MALLOC_TRIM_THRESHOLD_ ??= "131072";
  // A crash of this process, which has a library of others in it, leaves no daemon behind.
  const door = await Door.start({ rules: RULES, more: LOG, wholeBoard: BOARD, inside: ["setpriv", "--pdeathsig", "TERM"] });
  return { door, control: await Control.watch(door.socket) };
}

/** Waits until exactly one has answered, this one, and the door sends to it and hears of it both sound and picture. */
export async function flowsBothWays(control, id, ms) {
  const flows = (peer) => peer?.id === id && [peer.frames_sent, peer.audio_sent, peer.frames_received, peer.audio_received].every((count) => count > 0);
  let peers;
  let most = 0;
  await until(
    async () => {
      ({ peers } = await control.status());
      const answered = peers.filter((peer) => peer.answered);
      most = Math.max(most, answered.length);
      return flows(answered[0]);
    },
    `sound and picture both ways between the door and ${id}`,
    ms,
    () => peers,
    SOON_MS,
  );
  assert.equal(most, 1, "never two who have the call");
}

/** Waits until nobody is called, nobody is connected, and the camera is off. Gives the status. */
export async function atRest(control, ms) {
  let status;
  await control.untilState("idle", ms);
  await until(
    async () => {
      status = await control.status();
      return status.state === "idle" && status.counters.links_open === 0 && status.peers.length === 0 && status.media.capture === "off";
    },
    "a door at rest: no link, no phone, no camera",
    ms,
    () => status,
    SOON_MS,
  );
  assert.deepEqual(status.faults, []);
  return status;
}
