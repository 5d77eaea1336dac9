// How the answer page looks and reads in each of its states: a picture of each for a person to look at, in
// target/page/, and axe-core, which has to find no serious fault. A double of the door makes the states.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Door } from "./door.mjs";
import { DoorDouble } from "./double.mjs";
import { Phone } from "./phone.mjs";
import { until } from "./wait.mjs";

const TEST_MS = 120_000;
const PICTURES = resolve(dirname(fileURLToPath(import.meta.url)), "../../target/page");
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** A small phone, held in one hand. */
const UPRIGHT = { width: 360, height: 640 };
const SIDEWAYS = { width: 640, height: 360 };
const SMALLEST_TARGET = 48;
const RIGHTS = `&person=Anna&secret=${randomBytes(16).toString("base64url")}`;

/** As a door would give it that wakes phones. */
const PUSH = `B${"A".repeat(86)}`;

describe("the look of the page", () => {
  let hub;
  let double;
  let phone;
  let me;
  let call = 0;
  before(async () => {
    mkdirSync(PICTURES, { recursive: true });
    hub = await Door.start();
    double = await DoorDouble.join(hub);
    await double.film();
    phone = await Phone.open();
    await phone.page.setViewportSize(UPRIGHT);
    // Somebody with two cameras, and a link with a friendly name.
    await phone.page.addInitScript(() => {
      const list = navigator.mediaDevices?.enumerateDevices.bind(navigator.mediaDevices);
      if (list) navigator.mediaDevices.enumerateDevices = async () => [...(await list()), { kind: "videoinput", deviceId: "back", label: "Back" }];
    });
    await phone.page.goto(`${hub.link}${RIGHTS}&look=1&push=${PUSH}&name=Kirchgasse%205`);
    await phone.untilState("setup");
  });
  after(async () => {
    await phone?.close();
    await double?.close();
    await hub?.stop();
  });

  const arm = async () => {
    await phone.page.click("#arm");
    await phone.untilState("armed");
    me = await phone.page.evaluate(() => window.intercom.peerId);
  };
  const begin = async (more = {}) => {
    double.begin(`c-look-${(call += 1)}`);
    await double.notice(me, "ringing", more);
    await phone.untilState("ringing");
  };
  const live = () => phone.page.waitForFunction(() => document.body.dataset.live === "yes", null, { timeout: 20_000 });
  const talks = async () => {
    await phone.page.click("#answer");
    await double.notice(me, "talking", { answered_by: me, answered_name: "Anna" });
    await until(() => phone.page.evaluate(() => window.intercom.call?.confirmed), "the confirmed talk", 5_000);
    await phone.page.waitForSelector("#flip:not([hidden])");
    await live();
  };
  const ends = async (cause = "no-answer") => {
    await double.notice(me, "ended", { cause });
    await phone.untilState("ended");
    await phone.page.click("#seen");
    await phone.untilState("armed");
  };

  /** Pictures of the present state in both colours, and the faults that axe finds in it. */
  async function look(name, { sizes = [UPRIGHT], schemes = ["light", "dark"] } = {}) {
    const faults = [];
    for (const size of sizes) {
      for (const colorScheme of schemes) {
        await phone.page.setViewportSize(size);
        await phone.page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await phone.page.screenshot({ path: join(PICTURES, `${name}-${colorScheme}${size === SIDEWAYS ? "-sideways" : ""}.png`) });
        faults.push(...(await axe(phone.page, colorScheme)), ...(await layout(phone.page, size)));
      }
    }
    await phone.page.setViewportSize(UPRIGHT);
    assert.deepEqual(faults, [], name);
  }

  test("before the first tap, and without a link", { timeout: TEST_MS }, async () => {
    await look("setup");
    const other = await phone.context.newPage();
    await other.setViewportSize(UPRIGHT);
    await other.goto(`http://127.0.0.1:${hub.port}/`);
    await other.waitForSelector("#help:not([hidden])");
    await other.screenshot({ path: join(PICTURES, "help-light.png") });
    assert.deepEqual([...(await axe(other, "light")), ...(await layout(other, UPRIGHT))], []);
    await other.close();
    await phone.page.bringToFront();
  });

  test("armed, with nothing and with something missing", { timeout: TEST_MS }, async () => {
    await arm();
    await phone.page.waitForFunction(() => window.intercom.ready);
    await look("armed", { sizes: [UPRIGHT, SIDEWAYS] });
    // Of a door that shows nothing.
    await phone.page.click("#look");
    await phone.page.waitForSelector("#look-again:not([hidden])");
    await look("looking-refused", { sizes: [UPRIGHT, SIDEWAYS] });
    await phone.page.keyboard.press("Escape");
    // A browser of its own: its clock is set, and that is one for all pages of a browser.
    const sleeper = await Phone.open();
    try {
      const { page } = sleeper;
      await page.clock.install();
      await page.addInitScript(() => {
        if (navigator.wakeLock) navigator.wakeLock.request = () => Promise.reject(new DOMException("low battery", "NotAllowedError"));
      });
      await page.setViewportSize(UPRIGHT);
      await sleeper.watch(hub);
      await page.waitForSelector("#check-awake.no");
      await page.clock.fastForward(14 * 60_000);
      await page.waitForSelector("[data-state='armed'] #slept:not([hidden])");
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await page.screenshot({ path: join(PICTURES, `partly-${colorScheme}.png`) });
        assert.deepEqual([...(await axe(page, colorScheme)), ...(await layout(page, UPRIGHT))], []);
      }
    } finally {
      await sleeper.close();
    }
  });

  test("ringing, first with the visitor at the press and then live", { timeout: TEST_MS }, async () => {
    await begin({ ringing_at: 3 });
    await live();
    await double.tell(me, "picture", { jpeg: await double.picture() });
    await look("ringing", { sizes: [UPRIGHT, SIDEWAYS] });
    await ends();
  });

  test("talking, with the message sheet, muted, large, opened and refused", { timeout: TEST_MS }, async () => {
    await begin();
    await double.tell(me, "picture", { jpeg: await double.picture() });
    await talks();
    await phone.page.waitForSelector("#quality:not([hidden])", { timeout: 20_000 });
    await look("talking", { sizes: [UPRIGHT, SIDEWAYS] });
    await phone.page.click("#message");
    await look("message");
    await phone.page.keyboard.press("Escape");
    await phone.page.click("#mute");
    await phone.page.click("#camera");
    await double.tell(me, "opened", { for_ms: 60_000, by: "Anna" });
    await phone.page.waitForFunction(() => document.querySelector("#note").textContent !== "");
    await look("muted-opened");
    await phone.page.evaluate(() => (document.documentElement.requestFullscreen = undefined));
    await phone.page.click("#enlarge");
    await look("large", { sizes: [UPRIGHT, SIDEWAYS] });
    await phone.page.click("#enlarge");
    await phone.page.click("#open", { delay: 1_200 });
    await double.tell(me, "refused", { purpose: "open", why: "wrong" });
    await phone.page.waitForFunction(() => document.querySelector("#note").dataset.tone === "bad");
    await look("refused-to-open");
    await ends("hung-up");
  });

  test("the end of a call, somebody else's talk, and the past calls", { timeout: TEST_MS }, async () => {
    await begin();
    await double.tell(me, "picture", { jpeg: await double.picture() });
    await double.notice(me, "talking", { answered_by: "somebody", answered_name: "Ben" });
    await phone.untilState("ended");
    await look("answered-elsewhere");
    await phone.page.click("#seen");
    await phone.untilState("armed");
    await look("other");
    await double.notice(me, "ended", { cause: "hung-up" });
    await phone.page.waitForSelector("#other", { state: "hidden" });
    await phone.page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await look("past");
    await phone.page.evaluate(() => scrollTo(0, 0));
  });

  test("the settings", { timeout: TEST_MS }, async () => {
    await phone.page.click("#settings");
    await look("settings");
    await phone.page.keyboard.press("Escape");
  });

  test("German, before and in a call", { timeout: TEST_MS }, async () => {
    await phone.page.click("#settings");
    await phone.page.selectOption("#language", "de");
    await phone.page.keyboard.press("Escape");
    await look("german-armed", { schemes: ["light"] });
    await begin({ ringing_at: 2 });
    await live();
    await look("german-ringing", { schemes: ["light"], sizes: [UPRIGHT, SIDEWAYS] });
    await talks();
    await look("german-talking", { schemes: ["light"], sizes: [UPRIGHT, SIDEWAYS] });
    await phone.page.click("#message");
    await look("german-message", { schemes: ["light"] });
    await phone.page.keyboard.press("Escape");
    await ends("hung-up");
    await phone.page.click("#settings");
    await phone.page.selectOption("#language", "en");
    await phone.page.keyboard.press("Escape");
  });

  test("a picture of the press while the live one is not there, a line that broke, and a wrong key", { timeout: TEST_MS }, async () => {
    const quiet = await DoorDouble.join(hub);
    try {
      quiet.begin("c-quiet");
      await quiet.notice(me, "ringing");
      await phone.untilState("ringing");
      await look("waiting");
      await quiet.tell(me, "picture", { jpeg: await quiet.picture() });
      await phone.page.waitForSelector("#picture:not([hidden])");
      await look("at-the-press");
      await quiet.notice(me, "ended", { cause: "visitor" });
      await phone.untilState("ended");
    } finally {
      await quiet.close();
    }
    await phone.page.goto("about:blank");
    await phone.page.goto(hub.link.replace(encodeURIComponent(hub.key), "wrong").replace(hub.key, "wrong"));
    await phone.untilState("setup");
    await phone.page.click("#arm");
    await phone.untilState("refused");
    await look("refused");
    await phone.page.goto("about:blank");
    await phone.page.goto(hub.link);
    await phone.untilState("setup");
    await arm();
    await hub.kill();
    await phone.untilState("reconnecting", 30_000);
    await look("reconnecting");
  });
});

/** What axe-core finds that is serious or critical. */
async function axe(page, scheme) {
  await page.evaluate(`if (!window.axe) { ${AXE} }`);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${scheme}: ${id}: ${nodes.map(({ html, any }) => `${html.slice(0, 80)} ${any[0]?.message ?? ""}`).join("; ")}`);
}

/** What cannot be hit by a thumb, or lies beside the screen. */
function layout(page, size) {
  return page.evaluate(([size, smallest]) => {
    const faults = [];
    if (document.documentElement.scrollWidth > size.width) faults.push(`the page is ${document.documentElement.scrollWidth} px wide`);
    const sheet = document.querySelector("dialog[open]");
    for (const target of (sheet ?? document).querySelectorAll("button, select, input")) {
      if (!target.checkVisibility() || (!sheet && target.closest("dialog"))) continue;
      const { width, height, left, right } = target.getBoundingClientRect();
      if (Math.min(width, height) < smallest - 0.5) faults.push(`#${target.id} is ${width} × ${height} px`);
      if (left < -0.5 || right > size.width + 0.5) faults.push(`#${target.id} reaches from ${left} to ${right} px`);
      if (target.scrollWidth > target.clientWidth + 1 && target.tagName === "BUTTON") faults.push(`#${target.id} cuts its words off`);
    }
    const call = document.querySelector("#stage:not([hidden])");
    const footer = document.querySelector("footer").getBoundingClientRect();
    if (call && footer.bottom > size.height + 1) faults.push(`the buttons of the call end at ${footer.bottom} px`);
    if (call && call.getBoundingClientRect().height < 100) faults.push(`the picture is ${call.getBoundingClientRect().height} px high`);
    return faults.map((fault) => `${size.width} × ${size.height}: ${fault}`);
  }, [size, SMALLEST_TARGET]);
}
