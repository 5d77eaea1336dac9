// The answer page's half of the door protocol, message by message, in real Chromium on the hub of a real daemon.
// The other half is a double of the door: what the real one makes of it, journey.test.mjs tells.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, test } from "node:test";
import { Door } from "./door.mjs";
import { DoorDouble } from "./double.mjs";
import { isProved } from "./member.mjs";
import { Phone } from "./phone.mjs";
import { until } from "./wait.mjs";

const TEST_MS = 60_000;
const secret = randomBytes(16);
const RIGHTS = `&person=Anna&secret=${secret.toString("base64url")}`;

describe("the page, to a double of the door,", () => {
  let hub;
  let double;
  let phone;
  let me;
  // A hub of its own for each: one lets an address connect 60 times in a minute and no more.
  beforeEach(async () => {
    hub = await Door.start();
    double = await DoorDouble.join(hub);
    phone = await Phone.open();
    await phone.page.goto(hub.link + RIGHTS);
    await phone.untilState("setup");
    await phone.page.click("#arm");
    await phone.untilState("armed");
    me = await intercom("peerId");
  });
  afterEach(async () => {
    await phone?.close();
    await double?.close();
    await hub?.stop();
  });
  const intercom = (key) => phone.page.evaluate((key) => window.intercom[key], key);
  const rings = async () => {
    await double.notice(me, "ringing");
    await phone.untilState("ringing");
  };
  const talks = async () => {
    await rings();
    await phone.page.click("#answer");
    await double.untilHeard("answer");
    await double.notice(me, "talking", { answered_by: me, answered_name: "Anna" });
    await until(async () => (await intercom("call"))?.confirmed, "the confirmed talk", 5_000);
  };
  const detail = () => phone.page.innerText("#detail");
  const noted = (pattern) => until(async () => pattern.test(await phone.page.innerText("#note")), `a note like ${pattern}`, 10_000, () => phone.page.innerText("#note"));
  const holdOpen = () => phone.page.click("#open", { delay: 1_200 });

  test("says who it is and that it rings, once, and how long ago the press was", { timeout: TEST_MS }, async () => {
    await rings();
    const { data: hello } = await double.untilHeard("hello");
    assert.match(hello.page, /^[0-9a-f]{64}$/);
    assert.equal(hello.name, "Anna");
    await double.untilHeard("ringing");
    await double.notice(me, "ringing", { ringing_at: 3, age_ms: 34_000 });
    await until(async () => /rang 3\d s ago · also rings on 2 more/.test(await phone.page.innerText("#age")), "the age of the ring", 5_000, () => phone.page.innerText("#age"));
    assert.deepEqual((await double.heard("ringing")).map(({ data }) => data), [{ intercomd: 1, type: "ringing", call: double.call }]);
  });

  test("answers and hangs up the call by its name, and a late ring of it stays silent", { timeout: TEST_MS }, async () => {
    await talks();
    const { data: answer } = await double.untilHeard("answer");
    assert.deepEqual(answer, { intercomd: 1, type: "answer", call: double.call });
    await phone.page.click("#hangup");
    const { data: hangup } = await double.untilHeard("hangup");
    assert.deepEqual(hangup, { intercomd: 1, type: "hangup", call: double.call });
    const rung = await intercom("rings");
    await double.notice(me, "ringing");
    await double.notice(me, "ended", { cause: "hung-up" });
    await double.notice(me, "ringing");
    double.begin("c-double-2");
    await double.notice(me, "ringing");
    await phone.untilState("ringing");
    assert.equal(await intercom("rings"), rung + 1, "only the new call rang");
    await double.untilHeard("hello", 2);
  });

  test("stops ringing with the name of who answered, takes the call over, and can lose it again", { timeout: TEST_MS }, async () => {
    await rings();
    await double.notice(me, "talking", { answered_by: "somebody", answered_name: "Ben" });
    await phone.untilState("ended");
    assert.match(await detail(), /Answered by Ben/);
    assert.equal(await intercom("sounding"), false);
    await phone.page.click("#take");
    const { data } = await double.untilHeard("take");
    assert.deepEqual(data, { intercomd: 1, type: "take", call: double.call });
    await double.notice(me, "talking", { answered_by: me });
    await until(async () => (await intercom("call"))?.confirmed, "the call handed over", 5_000);
    await double.notice(me, "talking", { answered_by: "somebody", answered_name: "Ben" });
    await phone.untilState("ended");
    assert.match(await detail(), /with Ben now/);
    assert.deepEqual(await intercom("sending"), { video: "none", audio: "none" });
  });

  test("joins a talk beside the one who has it, and only where it may", { timeout: TEST_MS }, async () => {
    await double.notice(me, "talking", { answered_by: "somebody", answered_name: "Ben", may: ["text"] });
    await phone.page.waitForSelector("#other:not([hidden])");
    assert.equal(await phone.page.isVisible("#join"), false);
    assert.equal(await phone.page.isVisible("#take"), false);
    await double.notice(me, "talking", { answered_by: "somebody", answered_name: "Ben" });
    await phone.page.click("#join");
    await double.untilHeard("join");
    await double.notice(me, "talking", { answered_by: "somebody", answered_name: "Ben" });
    await phone.untilState("talking");
    await until(async () => /sees Ben/.test(await detail()), "who is seen at the door", 5_000, detail);
  });

  test("shows the visitor at the press until the live picture is there, and tells then how long it took", { timeout: TEST_MS }, async () => {
    await rings();
    await double.tell(me, "picture", { jpeg: Buffer.from("no picture").toString("base64") });
    await double.tell(me, "picture", { jpeg: await double.picture() });
    await phone.page.waitForSelector("#picture:not([hidden])");
    assert.equal(await phone.page.evaluate(() => document.querySelector("#picture").naturalWidth), 640);
    assert.deepEqual(await double.heard("shown"), []);
    await double.film();
    const { data } = await double.untilHeard("shown", 1, 20_000);
    assert.equal(data.call, double.call);
    assert.ok(Number.isInteger(data.after_ms) && data.after_ms > 0);
    await phone.page.waitForSelector("#picture", { state: "hidden" });
    await double.notice(me, "ended", { cause: "no-answer" });
    await phone.untilState("ended");
    const [past] = await intercom("past");
    assert.match(past.picture, /^data:image\/jpeg;base64,/);
    await phone.page.waitForSelector("#past-list li.missed img");
    assert.equal((await double.heard("shown")).length, 1);
    assert.deepEqual(phone.errors, []);
  });

  test("sends texts before and after the answer, in one line of at most 120 characters", { timeout: TEST_MS }, async () => {
    await rings();
    await phone.page.click("#message");
    await phone.page.click("[data-quick='quick-coming']");
    const { data } = await double.untilHeard("text");
    assert.deepEqual(data, { intercomd: 1, type: "text", call: double.call, text: "I'm coming" });
    await noted(/Shown at the door: “I'm coming”/);
    await phone.page.click("#answer");
    await double.untilHeard("answer");
    await double.notice(me, "talking", { answered_by: me });
    await phone.page.click("#message");
    await phone.page.fill("#text", "x".repeat(200));
    await phone.page.press("#text", "Enter");
    assert.equal((await double.untilHeard("text", 2)).data.text, "x".repeat(120));
    await double.notice(me, "talking", { answered_by: me, may: [] });
    await phone.page.waitForSelector("#message", { state: "hidden" });
  });

  test("proves the secret for the door's log, once in a call, and lists what it was not there for", { timeout: TEST_MS }, async () => {
    await rings();
    await double.untilHeard("log");
    const nonce = await double.challenge(me, "log");
    const { data } = await double.untilHeard("proof");
    assert.equal(data.nonce, nonce);
    assert.equal(isProved(secret, data, me), true);
    await double.challenge(me, "log");
    const at = Math.floor(Date.now() / 1000) - 3600;
    await double.tell(me, "log", { entries: [{ call: "c-earlier", at, outcome: "no-answer", answered_by: null, opened_by: null, talk_s: 0 }] });
    await double.notice(me, "ended", { cause: "no-answer" });
    await phone.page.waitForSelector("#past-list li.missed[data-call='c-earlier']");
    assert.equal((await double.heard("proof")).length, 1);
    assert.equal((await double.heard("log")).length, 1);
  });

  test("opens with a proof after a hold, not after a tap, and says every refusal", { timeout: TEST_MS }, async () => {
    await talks();
    await phone.page.click("#open");
    await until(async () => /hold/i.test(await phone.page.innerText("#open-text")), "the hint to hold", 5_000);
    await holdOpen();
    await double.untilHeard("open");
    assert.equal((await double.heard("open")).length, 1, "the tap asked for nothing");
    await double.challenge(me, "open");
    const proof = await until(async () => (await double.heard("proof")).find(({ data }) => data.purpose === "open"), "the proof", 5_000);
    assert.equal(isProved(secret, proof.data, me), true);
    assert.equal(isProved(randomBytes(16), proof.data, me), false);
    await double.tell(me, "opened", { for_ms: 1500, by: "Anna" });
    await noted(/door is open/);
    await noted(/^$/);
    let asked = 1;
    for (const [why, words] of [["wrong", /not accept/], ["resting", /two seconds/], ["locked-out", /Too many/]]) {
      await holdOpen();
      asked += 1;
      await double.untilHeard("open", asked);
      await double.tell(me, "refused", { purpose: "open", why });
      await noted(words);
    }
  });

  test("opens for a keyboard that comes twice", { timeout: TEST_MS }, async () => {
    await talks();
    await phone.page.focus("#open");
    await phone.page.keyboard.press("Enter");
    await until(async () => /again/i.test(await phone.page.innerText("#open-text")), "the question", 5_000);
    assert.deepEqual(await double.heard("open"), []);
    await phone.page.keyboard.press("Enter");
    await double.untilHeard("open");
  });

  test("has no button to open without a secret, before the talk, or where the door has no relay", { timeout: TEST_MS }, async () => {
    await rings();
    assert.equal(await phone.page.isVisible("#open"), false);
    await phone.page.click("#answer");
    await double.notice(me, "talking", { answered_by: me, may: ["text"] });
    await until(async () => (await intercom("call"))?.confirmed, "the confirmed talk", 5_000);
    assert.equal(await phone.page.isVisible("#open"), false);
    const stranger = await Phone.open();
    try {
      await stranger.watch(hub);
      const id = await stranger.page.evaluate(() => window.intercom.peerId);
      double.begin("c-double-2");
      await double.notice(id, "ringing");
      await stranger.untilState("ringing");
      await stranger.page.click("#answer");
      await double.notice(id, "talking", { answered_by: id });
      await until(() => stranger.page.evaluate(() => window.intercom.call?.confirmed), "the confirmed talk", 5_000);
      assert.equal(await stranger.page.isVisible("#open"), false);
      assert.equal((await double.everything()).some(({ from, data }) => from === id && data.type === "log"), false);
    } finally {
      await stranger.close();
    }
  });

  test("never tells the secret", { timeout: TEST_MS }, async () => {
    await talks();
    await holdOpen();
    await double.untilHeard("open");
    await double.challenge(me, "open");
    await double.untilHeard("proof");
    const sent = JSON.stringify(await double.everything());
    assert.equal(sent.includes(secret.toString("base64url")) || sent.includes(secret.toString("hex")), false);
  });

  test("is back in the talk after it was loaded again, as the same page", { timeout: TEST_MS }, async () => {
    await talks();
    const { data: before } = await double.untilHeard("hello");
    await phone.page.reload();
    await until(async () => (await intercom("peerId")) !== null && (await intercom("peerId")) !== me, "a new id for the page", 10_000);
    me = await intercom("peerId");
    await double.notice(me, "talking", { answered_by: null });
    await phone.untilState("talking");
    const { data: hello } = await double.untilHeard("hello", 2);
    assert.equal(hello.page, before.page);
    assert.equal((await double.untilHeard("answer", 2)).from, me);
  });

  test("keeps its past calls, marks the missed ones, and forgets them on demand", { timeout: TEST_MS }, async () => {
    await rings();
    await double.notice(me, "ended", { cause: "no-answer" });
    await phone.page.waitForSelector("#past-list li.missed");
    await phone.page.reload();
    await phone.untilState("setup");
    assert.match(await phone.page.innerText("#past-list li"), /Missed/);
    await phone.page.click("#past-clear");
    assert.equal(await phone.page.locator("#past-list li").count(), 0);
    await phone.page.reload();
    await phone.untilState("setup");
    assert.equal(await phone.page.locator("#past-list li").count(), 0);
  });

  test("speaks German when asked, at once and after a reload", { timeout: TEST_MS }, async () => {
    await phone.page.click("#settings");
    await phone.page.selectOption("#language", "de");
    await until(async () => /Bereit/.test(await phone.page.innerText("#head-text")), "German", 5_000);
    await phone.page.reload();
    await phone.untilState("setup");
    assert.equal(await phone.page.getAttribute("html", "lang"), "de");
    assert.equal(await phone.page.innerText("#arm"), "Auf diese Tür achten");
  });

  test("says for how long it slept, when it wakes, and is on the line again", { timeout: TEST_MS }, async () => {
    const sleeper = await Phone.open();
    try {
      await sleeper.page.clock.install();
      await sleeper.watch(hub);
      // As if the lid had been shut: no timer ran, and the clock is later.
      await sleeper.page.clock.fastForward(20 * 60_000);
      await sleeper.untilSays("#slept", /asleep for 20 min/);
      await sleeper.untilState("armed");
      await double.notice(await sleeper.intercom("peerId"), "ringing");
      await sleeper.untilState("ringing");
    } finally {
      await sleeper.close();
    }
  });

  test("does not call itself armed where the screen may go dark or the bell is blocked, and says which", { timeout: TEST_MS }, async () => {
    const phone = await Phone.open();
    try {
      await phone.page.addInitScript(() => {
        if (navigator.wakeLock) navigator.wakeLock.request = () => Promise.reject(new DOMException("low battery", "NotAllowedError"));
        window.AudioContext = class extends EventTarget {
          state = "suspended";
          resume = () => Promise.reject(new DOMException("blocked", "NotAllowedError"));
        };
      });
      await phone.watch(hub);
      assert.doesNotMatch(await phone.page.innerText("#status"), /armed/i);
      assert.equal(await phone.intercom("ready"), false);
      assert.match(await phone.page.innerText("#check-sound"), /Tap/);
      assert.match(await phone.page.innerText("#check-awake"), /screen may switch off/);
    } finally {
      await phone.close();
    }
  });

  test("can be installed, by the browser's own judgement", { timeout: TEST_MS }, async () => {
    const devtools = await phone.context.newCDPSession(phone.page);
    assert.deepEqual((await devtools.send("Page.getAppManifest")).errors, []);
    assert.deepEqual((await devtools.send("Page.getInstallabilityErrors")).installabilityErrors, []);
  });

  test("saves a photo of the visitor", { timeout: TEST_MS }, async () => {
    await rings();
    await double.film();
    await phone.page.waitForSelector("#snapshot:not([hidden])", { timeout: 20_000 });
    const [download] = await Promise.all([phone.page.waitForEvent("download"), phone.page.click("#snapshot")]);
    assert.match(download.suggestedFilename(), /^front-door-\d{8}-\d{6}\.jpg$/);
  });
});
