// A person looks through the camera although nobody rang: what it sees, what the visitor is shown, what the others notice.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Door, callState, captureState } from "./door.mjs";
import { Phone, serveTutorial } from "./phone.mjs";
import { until } from "./wait.mjs";

const PICTURES = resolve(dirname(fileURLToPath(import.meta.url)), "../../target/page");
const TEST_MS = 120_000;
const LOOK_IN = '\n[look_in]\nallowed = true\nlongest = "30s"\n';

const lamp = ({ panel }) => panel.outputs.filter(({ output }) => output === "lamp").at(-1)?.value ?? "idle";
const looks = (status) => callState(status) === "looking";

describe("a door that lets persons look in", () => {
  let doors;
  let phones;
  let door;
  beforeEach(async () => {
    mkdirSync(PICTURES, { recursive: true });
    [doors, phones] = [[], []];
    door = await start({ more: LOOK_IN });
  });
  afterEach(async () => {
    for (const one of phones) await one.close();
    for (const one of doors) await one.stop();
  });

  async function start(wishes) {
    const one = await Door.start(wishes);
    doors.push(one);
    return one;
  }
  async function watching(link) {
    const phone = await Phone.open();
    phones.push(phone);
    await phone.page.setViewportSize({ width: 360, height: 640 });
    await phone.watchAs(link);
    return phone;
  }
  const step = async (phone) => (await phone.intercom("look")).step;
  const untilStep = (phone, wanted) => until(async () => (await step(phone)) === wanted, `the look ${wanted}`, 15_000, () => phone.page.innerText("#look-text"));

  test("shows its camera to a person who asks, lights its lamp, opens no microphone and rings at nobody", { timeout: TEST_MS }, async () => {
    const { fragment } = await door.addPerson("Anna");
    const anna = await watching(`${door.link}&${fragment}`);
    const ben = await watching(door.link);
    assert.equal(await ben.page.isVisible("#look"), false, "not without a person's link");
    assert.equal(lamp(await door.status()), "idle");

    await anna.page.click("#look");
    await anna.untilVisitorSeen("#look-video");
    const status = await door.until(looks, "looking");
    assert.equal(lamp(status), "looking");
    assert.equal(status.media.microphone, "off");
    await anna.untilSays("#look-text", /lamp at the door shows/);
    assert.equal(await ben.state(), "armed");
    assert.equal(await ben.intercom("rings"), 0);
    await anna.page.screenshot({ path: join(PICTURES, "looking-light.png") });
    const sounds = await anna.page.evaluate(() => document.querySelector("#look-video").srcObject.getAudioTracks().filter(({ muted }) => !muted).length);
    assert.equal(sounds, 0, "nothing to hear");

    await anna.page.keyboard.press("Escape");
    await door.untilIdle();
    await door.until((status) => lamp(status) === "idle", "the lamp at rest");
    assert.equal(await step(anna), "idle");
    assert.deepEqual([anna.errors, ben.errors], [[], []]);
    assert.equal((await door.calls()).length, 0, "no call was made of it");
  });

  test("rings at once when somebody presses meanwhile, also at the phone that looked", { timeout: TEST_MS }, async () => {
    const { fragment } = await door.addPerson("Anna");
    const anna = await watching(`${door.link}&${fragment}`);
    await anna.page.click("#look");
    await anna.untilVisitorSeen("#look-video");
    await door.press();
    await anna.untilState("ringing");
    assert.equal(await anna.page.isVisible("#look-sheet"), false);
    await anna.untilVisitorSeen("#visitor");
    await anna.page.click("#answer");
    await door.until((status) => callState(status) === "talking", "talking");
    await anna.page.click("#hangup");
    await door.untilIdle();
    await anna.untilState("armed");
    await anna.page.click("#look");
    await anna.untilVisitorSeen("#look-video");
  });

  test("shows nothing to a wrong secret, and says so", { timeout: TEST_MS }, async () => {
    await door.addPerson("Anna");
    const wrong = new URLSearchParams({ person: "Anna", secret: randomBytes(16).toString("base64url"), look: "1" });
    const mallory = await watching(`${door.link}&${wrong}`);
    await mallory.page.click("#look");
    await untilStep(mallory, "refused");
    assert.match(await mallory.page.innerText("#look-text"), /does not accept your link/);
    const status = await door.status();
    assert.equal(callState(status), "idle");
    assert.equal(captureState(status), "off");
  });

  test("shows itself through the service as well, and a page that knows nothing of it notices nothing", { timeout: TEST_MS }, async () => {
    const service = await start();
    const far = await start({ service: { url: service.ws, key: service.key }, more: LOOK_IN });
    await far.until(({ uplinks }) => uplinks.filter(({ name }) => name.startsWith("service")).every(({ state }) => state === "connected" || state === "joined"), "at the service");
    const site = await serveTutorial();
    try {
      const plain = await Phone.open();
      phones.push(plain);
      await plain.page.goto(site.address(service));
      await plain.page.click("#start");
      await until(async () => (await plain.page.innerText("#note")) === "joined", "the plain page's join", 15_000);
      const { fragment } = await far.addPerson("Anna");
      const anna = await watching(`${service.link}&${fragment}`);
      await anna.page.click("#look");
      await anna.untilVisitorSeen("#look-video");
      await far.until(looks, "looking");
      assert.equal(await plain.page.evaluate(() => document.querySelector("#theirs").srcObject), null);
    } finally {
      site.close();
    }
  });
});

describe("a door that does not", () => {
  let door;
  let phone;
  afterEach(async () => {
    await phone?.close();
    await door?.stop();
  });

  test("tells persons' pages nothing of looking, and answers none that asks", { timeout: TEST_MS }, async () => {
    door = await Door.start();
    const { fragment } = await door.addPerson("Anna");
    phone = await Phone.open();
    await phone.watchAs(`${door.link}&${fragment}`);
    assert.equal(await phone.page.isVisible("#look"), false);
    await phone.page.goto("about:blank");
    await phone.watchAs(`${door.link}&${fragment}&look=1`);
    await phone.page.click("#look");
    await until(async () => (await phone.intercom("look")).step === "refused", "the look given up", 15_000);
    assert.match(await phone.page.innerText("#look-text"), /switched off/);
    assert.equal(captureState(await door.status()), "off");
  });
});

describe("a door whose camera is kept warm", () => {
  let door;
  afterEach(() => door?.stop());

  test("runs it with the microphone closed, and goes on after a call", { timeout: TEST_MS }, async () => {
    door = await Door.start({ board: '\nwarm = "camera"\n' });
    const warm = (status) => callState(status) === "idle" && captureState(status) === "running" && status.media.microphone === "off";
    const before = await door.until(warm, "the camera on");
    await door.press();
    await door.until((status) => callState(status) === "ringing" && status.media.microphone !== "off", "the microphone on in a call");
    await door.hangup();
    const after = await door.until(warm, "the microphone off again");
    assert.equal(after.media.pipelines_built, before.media.pipelines_built, "the camera was never closed");
  });
});
