// What a media server gets of a call: a real Janus, and a browser that looks at its room.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Door, callState } from "./door.mjs";
import { Janus } from "./janus.mjs";
import { Phone } from "./phone.mjs";
import { until } from "./wait.mjs";

const TOKEN = "a-bearer-of-the-tests";
const TEST_MS = 90_000;
const SOON_MS = 20_000;

/** Looks at what Janus offers; gives the answer. */
const look = async (sdp) => {
  const pc = (window.viewer = new RTCPeerConnection());
  const video = document.createElement("video");
  Object.assign(video, { id: "by-way-of-janus", autoplay: true, muted: true, playsInline: true });
  document.body.append(video);
  pc.ontrack = ({ track }) => {
    const stream = video.srcObject ?? new MediaStream();
    stream.addTrack(track);
    video.srcObject = stream;
  };
  await pc.setRemoteDescription({ type: "offer", sdp });
  await pc.setLocalDescription();
  if (pc.iceGatheringState !== "complete") {
    await new Promise((resolve) => pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve()));
  }
  return pc.localDescription.sdp;
};

/** What the viewer has of picture and sound. */
const seen = async () => {
  const [stats, video] = [[...(await window.viewer.getStats()).values()], document.querySelector("#by-way-of-janus")];
  const of = (kind) => stats.find((stat) => stat.type === "inbound-rtp" && stat.kind === kind) ?? {};
  return { frames: of("video").framesDecoded ?? 0, packets: of("audio").packetsReceived ?? 0, width: video.videoWidth };
};

const hasJanus = spawnSync("janus", ["--version"], { stdio: "ignore" }).error === undefined;

describe("a media server", { skip: hasJanus ? false : "Janus is not installed" }, () => {
  let janus, door, viewer, folder;

  before(async () => {
    janus = await Janus.start({ token: TOKEN });
    folder = mkdtempSync(join(tmpdir(), "intercomd-publish-"));
    writeFileSync(join(folder, "token"), TOKEN, { mode: 0o600 });
    door = await Door.start({
      rules: 'no_answer = "60s"',
      more: `\n[publish]\nwhip = "${janus.endpoint}"\ntoken_file = "${join(folder, "token")}"\n`,
    });
    viewer = await Phone.open();
    await viewer.page.goto(`http://127.0.0.1:${door.port}/`);
  });

  after(async () => {
    await Promise.allSettled([viewer?.close(), door?.stop(), janus?.stop()]);
    if (folder) rmSync(folder, { recursive: true, force: true });
  });

  const published = (state) => door.until(({ publish }) => publish?.state === state, `publishing is ${state}`, SOON_MS);
  const hint = () => `${JSON.stringify(janus.asked)}\n${janus.log}\n${door.log}`;

  test("shows whoever looks at it the visitor, and is told when nobody is at the door any more", { timeout: TEST_MS }, async () => {
    assert.equal((await door.status()).publish.server, "127.0.0.1");
    assert.deepEqual(await janus.publishers(), [], "nobody is at the door");
    await door.press();
    await published("connected").catch((error) => assert.fail(`${error.message}\n${hint()}`));
    assert.ok(janus.asked.some(({ status }) => status === 201), JSON.stringify(janus.asked));
    assert.ok(janus.asked.every(({ method, known, type }) => method === "POST" && known && type === "application/sdp"), JSON.stringify(janus.asked));
    const view = await janus.view((sdp) => viewer.page.evaluate(look, sdp));
    let last;
    const first = await until(
      async () => {
        last = await viewer.page.evaluate(seen);
        return last.frames > 5 && last.packets > 20 && last.width > 0 ? last : null;
      },
      "picture and sound by way of Janus",
      SOON_MS,
      () => `${JSON.stringify(last)} ${hint()}`,
    );
    await until(() => viewer.page.evaluate(seen).then((now) => now.frames > first.frames + 10), "a picture that moves", SOON_MS);
    assert.equal(callState(await door.status()), "ringing", "a server that looks has answered nothing");
    await view.end();
    await door.hangup();
    await door.untilIdle();
    await until(() => janus.asked.some(({ method, status }) => method === "DELETE" && status === 200), "the end at the server", SOON_MS, hint);
    await until(async () => (await janus.publishers()).length === 0, "an empty room", SOON_MS);
    await published("idle");
  });

  test("that refuses costs a phone nothing of its call, and is tried again", { timeout: TEST_MS }, async () => {
    const phone = await Phone.open();
    try {
      await phone.watch(door);
      janus.refuses = 503;
      await door.press();
      await phone.untilState("ringing");
      await phone.page.click("#answer");
      await phone.untilState("talking");
      await phone.untilVisitorSeen("#visitor");
      const { publish, health } = await published("failing");
      assert.match(publish.error, /127\.0\.0\.1: HTTP status 503/);
      assert.ok(health.reasons.some((reason) => reason.includes("the media server gets no picture")), JSON.stringify(health));
      janus.refuses = null;
      const { publish: now } = await published("connected");
      assert.equal(now.error, null);
      const { peers } = await door.until(({ peers }) => peers[0]?.frames_received > 0 && peers[0]?.picture === "full", "the phone has its picture", SOON_MS);
      assert.equal(peers.length, 1, "the server is nobody's peer");
      await phone.untilVisitorSeen("#visitor");
      await door.hangup();
      await door.untilIdle();
      await published("idle");
    } finally {
      await phone.close();
    }
  });

  test("that takes the stream when the call is over already is told so", { timeout: TEST_MS }, async () => {
    janus.asked.length = 0;
    let release;
    janus.holds = new Promise((resolve) => (release = resolve));
    await door.press();
    await published("connecting");
    await door.hangup();
    await door.untilIdle();
    await published("idle");
    release();
    janus.holds = null;
    await until(() => janus.asked.some(({ method, status }) => method === "DELETE" && status === 200), "the end of what was taken late", SOON_MS, hint);
    await until(async () => (await janus.publishers()).length === 0, "an empty room", SOON_MS);
  });

  test("has nothing of its token in the log", () => {
    assert.ok(!door.wholeLog.includes(TOKEN));
  });
});
