// Whole calls: the real daemon, its own hub on 127.0.0.1, and real Chromium. Every claim is checked on
// pictures and tones that only the other side could have made.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { chance } from "../net/chance.mjs";
import { Door, IMPOLITE, POLITE, callState, captureState, pipelinesBuilt } from "./door.mjs";
import { Phone, serveTutorial } from "./phone.mjs";
import { DOOR_HERTZ, PHONE_HERTZ } from "./signs.mjs";
import { until } from "./wait.mjs";

const TEST_MS = 120_000;
const SOAK_MS = 1_800_000;
const SOAK_CALLS = Number(process.env.SOAK_CALLS ?? 20);
/** The call after which everything that is built once has been built. */
const SETTLED_AFTER = 3;
/** How the calls of the soak end, by chance. */
const ENDS = ["hung up", "declined", "ended at the door"];
/** How much of the sound must be the expected tone; the rest is coding noise and echo cancelling. */
const CLEAR = 0.4;

/** The door shows the phone's picture, changing, and plays the phone's tone. */
async function doorShowsAndPlaysThePhone(door, ms = 20_000) {
  const seen = new Set();
  await until(
    () => {
      const colour = door.displayColour();
      if (colour) seen.add(colour);
      return seen.size === 2;
    },
    "both colours of the phone's picture on the door's display",
    ms,
    () => `${[...seen]}\n${door.log}`,
  );
  let tone;
  await until(
    () => {
      tone = door.speakerTone(PHONE_HERTZ);
      return tone.share > CLEAR;
    },
    "the phone's tone in the door's speaker",
    ms,
    () => `${JSON.stringify(tone)}\n${door.log}`,
  );
}

describe("a page written after the SDK's tutorial", () => {
  let site;
  before(async () => {
    site = await serveTutorial();
  });
  after(() => site.close());

  for (const [role, doorPeerId] of [["polite", POLITE], ["impolite", IMPOLITE]]) {
    describe(`with the door on the ${role} side`, () => {
      let door;
      let phone;
      beforeEach(async () => {
        door = await Door.start({ doorPeerId });
        phone = await Phone.open();
        await phone.page.goto(site.address(door));
      });
      afterEach(async () => {
        await phone?.close();
        await door?.stop();
      });

      const talkBothWays = async () => {
        await phone.untilVisitorSeen("#theirs");
        await phone.untilHeard("#theirs", DOOR_HERTZ);
        await doorShowsAndPlaysThePhone(door);
        await door.until((status) => callState(status) === "talking", "talking, since the page sends media");
        await door.hangup();
        await door.untilIdle();
        assert.deepEqual(phone.errors, []);
        assert.deepEqual(await door.stop(), { code: 0, signal: null });
      };

      test("joined first, it sees and hears the visitor after a press, and is seen and heard", { timeout: TEST_MS }, async () => {
        await phone.page.click("#start");
        await until(async () => (await phone.page.innerText("#note")) === "joined", "the page's join", 15_000);
        await door.press();
        await talkBothWays();
      });

      test("a data channel of the page's own is closed, and the call goes on", { timeout: TEST_MS }, async () => {
        await phone.keepConnections();
        await phone.page.reload();
        await door.press();
        await phone.page.click("#start");
        await phone.untilVisitorSeen("#theirs");
        const offers = await phone.page.evaluate(async () => {
          const connection = window.connections.findLast(({ connectionState }) => connectionState === "connected");
          let offers = 0;
          connection.addEventListener("negotiationneeded", () => (offers += 1));
          const channel = connection.createDataChannel("notes");
          await new Promise((resolve) => channel.addEventListener("close", resolve));
          return offers;
        });
        assert.equal(offers, 1, "the page does not offer it again and again");
        await phone.untilVisitorSeen("#theirs");
        await doorShowsAndPlaysThePhone(door);
      });

      test("joining a door that rings already, it sees and hears the visitor, and is seen and heard", { timeout: TEST_MS }, async () => {
        await door.press();
        await door.until((status) => callState(status) === "ringing", "ringing");
        await phone.page.click("#start");
        await talkBothWays();
      });
    });
  }
});

describe("the answer page", () => {
  let door;
  let phones;
  beforeEach(async () => {
    phones = [];
    door = await Door.start();
  });
  afterEach(async () => {
    for (const phone of phones) await phone.close();
    await door?.stop();
  });
  const openPhone = async () => {
    const phone = await Phone.open();
    phones.push(phone);
    return phone;
  };

  test("rings, shows the visitor, and one tap makes it two-way until somebody hangs up", { timeout: TEST_MS }, async () => {
    const phone = await openPhone();
    await phone.watch(door);
    assert.deepEqual(await phone.page.evaluate(() => window.intercom.sending), { video: "none", audio: "none" });
    assert.equal(callState(await door.status()), "idle");

    await door.press();
    await phone.untilState("ringing");
    assert.equal(await phone.page.evaluate(() => window.intercom.sounding), true);
    await phone.untilVisitorSeen("#visitor");
    assert.equal(await phone.page.evaluate(() => document.querySelector("#visitor").muted), true, "the visitor is silent before Listen or Answer");
    await phone.page.click("#listen");
    await phone.untilHeard("#visitor", DOOR_HERTZ);
    assert.equal(await phone.page.evaluate(() => window.intercom.listening), true);
    assert.equal(callState(await door.status()), "ringing", "looking and listening is not answering");

    await phone.page.click("#answer");
    await phone.untilState("talking");
    await until(() => phone.page.evaluate(() => window.intercom.call?.confirmed), "the door's word that it talks with this phone", 10_000);
    assert.equal(await phone.page.evaluate(() => window.intercom.sounding), false);
    await phone.untilVisitorSeen("#visitor");
    await doorShowsAndPlaysThePhone(door);

    await phone.page.click("#mute");
    await until(() => door.speakerTone(PHONE_HERTZ).share < CLEAR, "silence at the door after Mute", 15_000);
    await phone.page.click("#mute");
    await until(() => door.speakerTone(PHONE_HERTZ).share > CLEAR, "the phone's tone at the door after unmuting", 15_000);

    await phone.page.click("#hangup");
    await phone.untilState(["ended", "armed"]);
    assert.deepEqual(await phone.page.evaluate(() => window.intercom.sending), { video: "none", audio: "none" });
    await door.untilIdle();
    await phone.untilState("armed");
    assert.deepEqual(phone.errors, []);
  });

  test("stops ringing when the door gives up, and says so", { timeout: TEST_MS }, async () => {
    const phone = await openPhone();
    await phone.watch(door);
    await door.press();
    await phone.untilState("ringing");
    await door.hangup();
    await phone.untilState("ended");
    assert.equal(await phone.page.evaluate(() => window.intercom.sounding), false);
    assert.equal((await phone.page.evaluate(() => window.intercom.lastEnd)).cause, "control");
    await door.untilIdle();
  });

  test("declining ends the ring when nobody else is there", { timeout: TEST_MS }, async () => {
    const phone = await openPhone();
    await phone.watch(door);
    await door.press();
    await phone.untilState("ringing");
    await phone.page.click("#hangup");
    await phone.untilState(["ended", "armed"]);
    await door.untilIdle();
    await door.press();
    await phone.untilState("ringing");
  });

  test("opened while it rings already, it rings", { timeout: TEST_MS }, async () => {
    const phone = await openPhone();
    await phone.openAnswerPage(door);
    await door.press();
    await door.until((status) => callState(status) === "ringing", "ringing");
    await phone.page.click("#arm");
    await phone.untilState("ringing");
    await phone.untilVisitorSeen("#visitor");
  });

  test("answers without camera and microphone where the person refuses them, and says so", { timeout: TEST_MS }, async () => {
    const phone = await openPhone();
    await phone.page.addInitScript(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("refused by the test", "NotAllowedError"));
    });
    await phone.watch(door);
    await door.press();
    await phone.untilState("ringing");
    await phone.page.click("#answer");
    await phone.untilState("talking");
    await door.until((status) => callState(status) === "talking", "talking with a phone that sends nothing");
    await phone.untilVisitorSeen("#visitor");
    await phone.untilHeard("#visitor", DOOR_HERTZ);
    assert.match(await phone.page.innerText("#detail"), /not allowed/);
    assert.equal(await phone.page.isVisible("#mute"), false);
    await phone.page.click("#hangup");
    await door.untilIdle();
  });

  test("stops ringing when the door dies without a word", { timeout: TEST_MS }, async () => {
    const phone = await openPhone();
    await phone.watch(door);
    await door.press();
    await phone.untilState("ringing");
    await door.kill();
    await until(async () => !(await phone.page.evaluate(() => window.intercom.sounding)), "silence of the bell", 15_000);
    assert.notEqual(await phone.state(), "ringing");
  });

  test("rings on when the door that died is back, and not when it was stopped", { timeout: TEST_MS }, async (t) => {
    const stateDir = mkdtempSync(join(tmpdir(), "intercomd-cut-off-"));
    const open = [];
    t.after(async () => {
      for (const one of open) await one.stop().catch(() => {});
      rmSync(stateDir, { recursive: true, force: true });
    });
    const start = async () => {
      const begun = await Door.start({ stateDir });
      open.push(begun);
      return begun;
    };
    const log = join(stateDir, "calls.json");
    const interrupted = () => existsSync(log) && /"interrupted"/.test(readFileSync(log, "utf8"));

    const died = await start();
    await died.press();
    await until(interrupted, "the ring in the log", 10_000);
    await died.kill();
    const back = await start();
    await back.until((status) => callState(status) === "ringing", "a ring without a press");
    const phone = await openPhone();
    await phone.openAnswerPage(back);
    await phone.page.click("#arm");
    await phone.untilState("ringing");
    await back.stop();

    const again = await start();
    assert.equal(callState(await again.status()), "idle");
    assert.equal((await again.status()).counters.calls, 0);
  });

  test("goes on ringing, and goes on talking, after its own line broke", { timeout: TEST_MS }, async () => {
    const phone = await openPhone();
    const cut = await phone.lineCutter();
    await phone.watch(door);
    const back = async (state) => {
      const before = await phone.page.evaluate(() => window.intercom.peerId);
      await cut();
      await until(() => phone.page.evaluate((id) => window.intercom.peerId !== id, before), "a new id for the page", 20_000);
      await phone.untilState(state);
    };
    await back("armed");
    await door.press();
    await phone.untilState("ringing");
    await phone.untilVisitorSeen("#visitor");
    await back("ringing");
    await phone.untilVisitorSeen("#visitor");
    await phone.page.click("#answer");
    await phone.untilState("talking");
    await doorShowsAndPlaysThePhone(door);
    await back("talking");
    await phone.untilVisitorSeen("#visitor");
    await doorShowsAndPlaysThePhone(door);
    await phone.page.click("#hangup");
    await door.untilIdle();
  });

  test("two phones see the visitor from one encoder, and the slower one is told who was faster", { timeout: TEST_MS }, async () => {
    const [fast, slow] = [await openPhone(), await openPhone()];
    await fast.watch(door);
    await slow.watch(door);
    await door.press();
    await fast.untilState("ringing");
    await fast.untilVisitorSeen("#visitor");
    const built = pipelinesBuilt(await door.status());
    assert.equal(typeof built, "number", "status tells media.pipelines_built");
    await slow.untilState("ringing");
    await slow.untilVisitorSeen("#visitor");
    await fast.untilVisitorSeen("#visitor");
    assert.equal(pipelinesBuilt(await door.status()), built);

    await fast.page.click("#answer");
    await fast.untilState("talking");
    await doorShowsAndPlaysThePhone(door);
    await slow.untilState(["ended", "armed"]);
    assert.equal((await slow.page.evaluate(() => window.intercom.lastEnd)).cause, "answered-elsewhere");
    assert.equal(pipelinesBuilt(await door.status()), built);
    await fast.untilVisitorSeen("#visitor");
    await fast.page.click("#hangup");
    await door.untilIdle();
  });

  test("with a wrong key it is refused in words, and does not pretend to watch", { timeout: TEST_MS }, async () => {
    const phone = await openPhone();
    await phone.page.goto(door.link.replace(encodeURIComponent(door.key), "wrong").replace(door.key, "wrong"));
    await phone.untilState("setup");
    await phone.page.click("#arm");
    await phone.untilState("refused");
    assert.match(await phone.page.innerText("#status"), /key/i);
    assert.notEqual(await phone.page.innerText("#error"), "");
  });

  test(`${SOAK_CALLS} calls in a row with random ends leave nothing behind in the daemon`, { timeout: SOAK_MS }, async (t) => {
    const phone = await openPhone();
    await phone.watch(door);
    const seed = Number(process.env.SOAK_SEED ?? Math.floor(Math.random() * 2 ** 31));
    t.diagnostic(`seed ${seed}`);
    const dice = chance(seed);
    let settled;
    for (let call = 1; call <= SOAK_CALLS; call += 1) {
      await door.press();
      await phone.untilState("ringing");
      const end = dice.of(ENDS);
      if (end !== "declined") {
        await phone.page.click("#answer");
        await phone.untilState("talking");
        await door.until((status) => callState(status) === "talking", `talking in call ${call}`);
        await phone.untilVisitorSeen("#visitor");
      }
      if (end === "ended at the door") await door.hangup();
      else await phone.page.click("#hangup");
      const idle = await door.untilIdle();
      assert.equal(captureState(idle), "off");
      if (call === SETTLED_AFTER) settled = await quiet(door);
    }
    await until(
      () => {
        const { threads, descriptors } = door.usage();
        return threads <= settled.threads + 2 && descriptors <= settled.descriptors + 3;
      },
      "threads and descriptors as after the third call",
      30_000,
      () => ({ settled, now: door.usage() }),
    );
    // The peak: what is resident at one moment depends on when the allocator last gave something back.
    const { peak } = door.usage();
    t.diagnostic(`after call ${SETTLED_AFTER}: ${JSON.stringify(settled)}; after call ${SOAK_CALLS}: ${JSON.stringify(door.usage())}`);
    assert.ok(peak < settled.peak + 15, `the peak of resident memory grew from ${settled.peak.toFixed(0)} to ${peak.toFixed(0)} MiB`);
    assert.equal(await phone.page.evaluate(() => window.intercom.rings), SOAK_CALLS);
    assert.deepEqual(phone.errors, []);
    assert.deepEqual(await door.stop(), { code: 0, signal: null });
  });
});

/** The daemon's usage once it no longer shrinks after a call. */
async function quiet(door) {
  let last = door.usage();
  let since = 0;
  return until(
    () => {
      const now = door.usage();
      since = now.threads === last.threads && now.descriptors === last.descriptors ? since + 1 : 0;
      last = now;
      return since >= 20 && now;
    },
    "an unchanging number of threads and descriptors for two seconds",
    30_000,
    () => last,
  );
}
