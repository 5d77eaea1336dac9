// A flood of connects at the hub, a thousand a second, while somebody talks: the pictures move on at both ends.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, beforeEach, describe, test } from "node:test";
import { Door, callState } from "./door.mjs";
import { Phone } from "./phone.mjs";
import { until } from "./wait.mjs";

const TEST_MS = 120_000;
const SECONDS = 6;
const A_SECOND = 1_000;

/** Runs in a process of its own: what each connect says is an unfinished request, or nothing. Prints how many there were. */
const FLOOD = `
import { connect } from "node:net";
const [port, seconds, each] = process.argv.slice(1).map(Number);
let [tried, opened] = [0, 0];
const open = [];
const begun = Date.now();
const more = setInterval(() => {
  const due = Math.min(seconds * each, ((Date.now() - begun) / 1000) * each);
  for (; tried < due; tried += 1) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.on("connect", () => {
      opened += 1;
      if (opened % 2) socket.write("GET /v1?key=guessed HTTP/1.1\\r\\nHost: door\\r\\nUpgrade: webso");
    });
    open.push(socket);
    if (open.length > 500) open.shift().destroy();
  }
  if (tried >= seconds * each) {
    clearInterval(more);
    for (const socket of open) socket.destroy();
    console.log(JSON.stringify({ tried, opened, ms: Date.now() - begun }));
  }
}, 10);
`;

describe("a door that is flooded with connects", () => {
  let door;
  let phone;
  beforeEach(async () => {
    door = await Door.start();
    phone = await Phone.open();
    await phone.watch(door);
  });
  afterEach(async () => {
    await phone?.close();
    await door?.stop();
  });

  test("talks on, and its pictures move in both directions all the while", { timeout: TEST_MS }, async (t) => {
    await door.press();
    await phone.untilState("ringing");
    await phone.page.click("#answer");
    await phone.untilVisitorSeen("#visitor");
    await door.until((status) => callState(status) === "talking" && status.media.frames_shown > 30, "the phone's picture at the door");
    const [peer] = (await door.status()).peers;

    const flood = spawn(process.execPath, ["--input-type=module", "-e", FLOOD, String(door.port), String(SECONDS), "1000"], { stdio: ["ignore", "pipe", "inherit"] });
    let told = "";
    flood.stdout.on("data", (data) => (told += data));
    const ended = once(flood, "exit");
    let over = false;
    ended.then(() => (over = true));
    const shown = () => phone.page.evaluate(() => document.querySelector("#visitor").getVideoPlaybackQuality().totalVideoFrames);
    let rounds = 0;
    while (!over) {
      const [atPhone, atDoor] = [await shown(), (await door.status()).media.frames_shown];
      await until(async () => (await shown()) > atPhone + 5, "the visitor's picture moving at the phone", 5 * A_SECOND);
      await until(async () => (await door.status()).media.frames_shown > atDoor + 5, "the phone's picture moving at the door", 5 * A_SECOND);
      rounds += 1;
    }
    await ended;
    const { tried, opened, ms } = JSON.parse(told);
    t.diagnostic(`${tried} connects tried in ${ms} ms, ${opened} opened; the pictures moved in each of ${rounds} looks`);
    assert.ok(tried >= SECONDS * 1_000 && opened * 2 > tried, `it was a flood: ${told}`);
    assert.ok(rounds > 2, `${rounds} looks`);

    const after = await door.status();
    assert.equal(callState(after), "talking");
    assert.equal(after.counters.calls, 1);
    assert.deepEqual(after.peers.map(({ id, generation }) => [id, generation]), [[peer.id, peer.generation]], "the same link");
    await phone.page.click("#hangup");
    await door.untilIdle();
    await phone.untilState("armed");
  });
});
