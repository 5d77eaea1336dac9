// What people do with the door, from the press to the end: the real daemon, the real page, several phones.
// contract.test.mjs looks at the page's messages one by one; here only what people see at both ends counts.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { Door, callState } from "./door.mjs";
import { Member } from "./member.mjs";
import { Phone } from "./phone.mjs";
import { PHONE_HERTZ } from "./signs.mjs";
import { until } from "./wait.mjs";

const TEST_MS = 180_000;
/** A small phone, held in one hand. */
const SCREEN = { width: 360, height: 640 };
const RELAY = `
[relay]
line = "RELAY"
active = "high"
safe = "off"
pulse = "3s"
max_pulse = "10s"
`;
/** More wrong tries than any door should let one page have. */
const FLOOD = 30;

describe("a house with a door", () => {
  let door;
  let phones;
  let members;
  beforeEach(() => {
    phones = [];
    members = [];
  });
  afterEach(async () => {
    for (const one of [...phones, ...members]) await one.close();
    await door?.stop();
    door = null;
  });
  const open = async () => {
    const phone = await Phone.open();
    phones.push(phone);
    await phone.page.setViewportSize(SCREEN);
    return phone;
  };
  const watching = async (name, link = door.link) => {
    const phone = await open();
    await phone.watchAs(link, name);
    return phone;
  };
  const answers = async (phone) => {
    await phone.page.click("#answer");
    await confirmed(phone);
  };
  const confirmed = (phone) => until(async () => (await phone.intercom("call"))?.confirmed === true, "the door's word that it talks with this phone", 15_000, () => phone.page.innerText("#status"));
  const seenAtTheDoor = async (phone) => {
    const id = await phone.intercom("peerId");
    await door.until(({ peers }) => peers.some((peer) => peer.id === id && peer.answered), "this phone counted as answered");
    await until(() => door.displayColour() !== null, "a phone's picture on the door's display", 20_000, () => door.log);
  };
  const hold = (phone) => phone.page.click("#open", { delay: 1_200 });
  const relay = ({ panel }) => panel.outputs.filter(({ output }) => output === "relay").map(({ value }) => value);

  describe("and three phones", () => {
    let anna;
    let ben;
    let carla;
    beforeEach(async () => {
      door = await Door.start();
      [anna, ben, carla] = [await watching("Anna"), await watching("Ben"), await watching("Carla")];
      await door.press();
      for (const phone of phones) await phone.untilState("ringing");
    });

    test("rings at all of them, which say so to each other; one answers, the others stop and name who", { timeout: TEST_MS }, async () => {
      for (const phone of phones) {
        await phone.untilSays("#age", /also rings on 2 more/);
        assert.equal(await phone.intercom("sounding"), true);
      }
      await answers(anna);
      for (const phone of [ben, carla]) {
        await phone.untilState(["ended", "armed"]);
        assert.equal(await phone.intercom("sounding"), false);
        const end = await phone.intercom("lastEnd");
        assert.equal(end.cause, "answered-elsewhere");
        assert.equal(end.name, "Anna");
        await phone.untilSays("#other-text", /^Anna is talking/);
        assert.deepEqual(await phone.intercom("sending"), { video: "none", audio: "none" });
      }
      await seenAtTheDoor(anna);
      await anna.page.click("#hangup");
      await door.untilIdle();
      for (const phone of phones) {
        await phone.untilState("armed");
        assert.equal(await phone.intercom("rings"), 1);
        assert.equal(await phone.page.locator("#past-list li.missed").count(), 0);
        assert.deepEqual(phone.errors, []);
      }
    });

    test("rings on at the others when one declines, and is quiet when all have", { timeout: TEST_MS }, async () => {
      await anna.page.click("#hangup");
      await anna.untilState(["ended", "armed"]);
      await ben.page.click("#hangup");
      await ben.untilState(["ended", "armed"]);
      assert.equal(callState(await door.status()), "ringing");
      assert.equal(await carla.intercom("sounding"), true);
      await carla.page.click("#hangup");
      await door.untilIdle();
      for (const phone of phones) {
        await phone.untilState("armed");
        assert.equal((await phone.intercom("lastEnd")).cause, "you-declined");
        assert.equal(await phone.intercom("rings"), 1);
      }
      await door.press();
      for (const phone of phones) await phone.untilState("ringing");
    });

    test("hands a call over to the phone that takes it, and back", { timeout: TEST_MS }, async () => {
      await answers(anna);
      await seenAtTheDoor(anna);
      await ben.page.click("#take");
      await confirmed(ben);
      await seenAtTheDoor(ben);
      await ben.untilVisitorSeen("#visitor");
      await anna.untilState(["ended", "armed"]);
      const end = await anna.intercom("lastEnd");
      assert.deepEqual([end.cause, end.name], ["taken-over", "Ben"]);
      assert.deepEqual(await anna.intercom("sending"), { video: "none", audio: "none" });
      await carla.untilSays("#other-text", /^Ben is talking/);
      await anna.page.click("#take");
      await confirmed(anna);
      await ben.untilSays("#other-text", /^Anna is talking/);
      assert.equal((await door.status()).counters.calls, 1);
      await anna.page.click("#hangup");
      await door.untilIdle();
    });
  });

  test("has a second speaker heard beside the first, and goes on with whoever is left", { timeout: TEST_MS }, async () => {
    door = await Door.start({ rules: "second_speaker = true" });
    const [anna, ben] = [await watching("Anna"), await watching("Ben")];
    const heard = (names) => door.until(({ peers }) => peers.filter(({ heard }) => heard).length === names, `${names} voices played`);
    await door.press();
    await anna.untilState("ringing");
    await ben.untilState("ringing");
    await answers(anna);
    await heard(1);
    await ben.page.click("#join");
    await ben.untilState("talking");
    await heard(2);
    await seenAtTheDoor(anna);
    await until(() => door.speakerTone(PHONE_HERTZ).share > 0.4, "the phones' tone in the door's speaker", 20_000);
    await anna.page.click("#hangup");
    await heard(1);
    assert.equal(callState(await door.status()), "talking");
    await seenAtTheDoor(ben);
    await ben.page.click("#hangup");
    await door.untilIdle();
  });

  test("has a phone that is loaded again in the talk back in it", { timeout: TEST_MS }, async () => {
    door = await Door.start();
    const anna = await watching("Anna");
    await door.press();
    await anna.untilState("ringing");
    await answers(anna);
    await seenAtTheDoor(anna);
    const { id } = await anna.intercom("call");
    await anna.page.reload();
    await confirmed(anna);
    assert.equal((await anna.intercom("call")).id, id);
    await anna.untilVisitorSeen("#visitor");
    await seenAtTheDoor(anna);
    assert.equal((await door.status()).counters.calls, 1);
    await anna.page.click("#hangup");
    await door.untilIdle();
  });

  test("shows the visitor what is written to them, before and after the answer", { timeout: TEST_MS }, async () => {
    door = await Door.start({ more: "\n[display]\nslates = true\n" });
    const [anna, ben] = [await watching("Anna"), await watching("Ben")];
    const shown = (text) => door.until(({ media }) => media.display_text === text, `“${text}” on the display`);
    await door.press();
    await anna.untilState("ringing");
    await anna.page.click("#message");
    await anna.page.click("[data-quick='quick-wait']");
    await shown("Please wait a moment");
    await anna.untilSays("#note", /Shown at the door/);
    await answers(anna);
    await anna.page.click("#message");
    await anna.page.fill("#text", "Grüße <b>aus</b> dem 3. Stock & bis gleich");
    await anna.page.press("#text", "Enter");
    await shown("Grüße <b>aus</b> dem 3. Stock & bis gleich");
    await ben.page.click("#other-message");
    await ben.page.click("[data-quick='quick-leave']");
    await shown("Please leave it at the door");
    await anna.page.click("#hangup");
    await door.untilIdle();
    assert.notEqual((await door.status()).media.display_text, "Please leave it at the door", "nothing stays for the next visitor");
  });

  test("tells a page that comes late how things stand", { timeout: TEST_MS }, async () => {
    door = await Door.start();
    const anna = await watching("Anna");
    await door.press();
    await anna.untilState("ringing");
    const late = await open();
    await late.page.goto(door.link);
    await late.untilState("setup");
    await late.page.click("#arm");
    await late.untilState("ringing");
    const call = await late.intercom("call");
    assert.ok(call.pressedAt < call.heardAt, "it knows that the press was before it came");
    await late.untilSays("#age", /rang \d+ s ago/);
    await answers(anna);
    await late.untilState(["ended", "armed"]);
    const later = await watching("Carla");
    await later.untilSays("#other-text", /^Anna is talking/);
    assert.equal(await later.intercom("rings"), 0);
    assert.equal((await later.intercom("other")).call, call.id);
    assert.equal(await later.page.isVisible("#take"), true);
  });

  test("lists a missed call with the visitor's picture, and what the door knows of calls that nobody's page heard", { timeout: TEST_MS }, async () => {
    door = await Door.start({ rules: 'no_answer = "5s"' });
    const person = await door.addPerson("Anna");
    await door.press();
    await door.until((status) => callState(status) !== "idle", "a call that no page hears");
    await door.untilIdle(20_000);
    const anna = await watching(null, person.link);
    await door.press();
    await anna.untilState("ringing");
    await until(async () => (await anna.intercom("past")).length === 2, "the door's log beside the present call", 10_000, () => anna.intercom("past"));
    await anna.untilState("ended", 20_000);
    const past = await anna.intercom("past");
    assert.deepEqual(past.map(({ heard, answered }) => [heard, answered]), [["page", "nobody"], ["door", "nobody"]]);
    assert.match(past[0].picture, /^data:image\/jpeg;base64,/);
    assert.equal(await anna.page.locator("#past-list li.missed").count(), 2);
  });

  describe("and a relay", () => {
    let person;
    beforeEach(async () => {
      door = await Door.start({ more: RELAY });
      person = await door.addPerson("Anna");
    });
    const talks = async (phone) => {
      await door.press();
      await phone.untilState("ringing");
      await answers(phone);
    };
    const staysLocked = async () => {
      const status = await door.status();
      assert.equal(status.door, "locked");
      assert.equal(relay(status).includes("on"), false);
    };
    /** A member without a page that talks with the visitor. */
    const talkingMember = async () => {
      const member = await Member.join(door);
      members.push(member);
      await door.press();
      const { from, data } = await member.untilHeard("call", 1, 15_000);
      member.call = data.call;
      await member.tell(from, "hello", { page: "a".repeat(64), name: "Member" });
      await member.tell(from, "answer");
      await until(async () => (await member.heard("call")).some(({ data }) => data.answered_by === member.id), "the talk", 10_000, () => member.everything());
      return { member, at: from };
    };
    const challenged = async (member, at, nth) => {
      await member.tell(at, "open");
      return (await member.untilHeard("challenge", nth)).data;
    };

    test("opens for the person with the secret who talks, for one pulse, and tells all pages who it was", { timeout: TEST_MS }, async () => {
      const anna = await watching(null, person.link);
      const ben = await watching("Ben");
      await talks(anna);
      await ben.untilSays("#other-text", /^Anna is talking/);
      await staysLocked();
      await hold(anna);
      await door.until((status) => status.door === "open" && relay(status).at(-1) === "on", "open");
      await anna.untilSays("#note", /door is open/);
      await ben.untilSays("#note", /^Anna opened the door/);
      await door.until((status) => status.door !== "open" && relay(status).at(-1) === "off", "closed after its pulse");
      assert.equal((await anna.intercom("past"))[0].opened, "Anna");
      assert.equal(await ben.page.isVisible("#open"), false);
    });

    test("stays locked for a wrong secret, and says no more than that", { timeout: TEST_MS }, async () => {
      const wrong = new URLSearchParams({ person: "Anna", secret: Buffer.alloc(16, 1).toString("base64url") });
      const anna = await watching(null, `${door.link}&${wrong}`);
      await talks(anna);
      await hold(anna);
      await anna.untilSays("#note", /does not accept/);
      await staysLocked();
    });

    test("stays locked for a person it does not know, in the same words", { timeout: TEST_MS }, async () => {
      const { member, at } = await talkingMember();
      const challenge = await challenged(member, at, 1);
      await member.send(at, member.proof(Buffer.from(person.secret, "base64url"), challenge, "Nobody"));
      assert.equal((await member.untilHeard("refused")).data.why, "wrong");
      await staysLocked();
    });

    test("takes a proof once: a repeated one is refused and gives no second pulse", { timeout: TEST_MS }, async () => {
      const { member, at } = await talkingMember();
      const proof = member.proof(Buffer.from(person.secret, "base64url"), await challenged(member, at, 1), "Anna");
      await member.send(at, proof);
      await member.untilHeard("opened");
      await door.until((status) => status.door === "locked" && relay(status).at(-1) === "off", "locked again", 15_000);
      await member.send(at, proof);
      assert.equal((await member.untilHeard("refused")).data.why, "expired");
      assert.equal(relay(await door.status()).filter((value) => value === "on").length, 1);
    });

    test("takes no proof for another purpose, nor one that another member made", { timeout: TEST_MS }, async () => {
      const { member, at } = await talkingMember();
      const secret = Buffer.from(person.secret, "base64url");
      await member.tell(at, "log");
      const { data } = await member.untilHeard("challenge");
      await member.send(at, { ...member.proof(secret, data, "Anna"), purpose: "open" });
      await member.untilHeard("refused");
      const thief = await Member.join(door);
      members.push(thief);
      const challenge = await challenged(member, at, 2);
      await thief.send(at, member.proof(secret, challenge, "Anna"));
      await thief.untilHeard("refused");
      await staysLocked();
    });

    test("is asked in vain by who does not talk", { timeout: TEST_MS }, async () => {
      const { at } = await talkingMember();
      const other = await Member.join(door);
      members.push(other);
      other.call = (await other.untilHeard("call", 1, 15_000)).data.call;
      await other.tell(at, "open");
      assert.equal((await other.untilHeard("refused")).data.why, "not-talking");
      await staysLocked();
    });

    test("locks a guesser out, also with the right secret at last, and works on", { timeout: TEST_MS }, async () => {
      const { member, at } = await talkingMember();
      const verdicts = async () => (await member.heard("refused")).map(({ data }) => data.why);
      for (let tries = 1; tries <= FLOOD && !(await verdicts()).includes("locked-out"); tries += 1) {
        const challenges = (await member.heard("challenge")).length;
        await member.tell(at, "open");
        await until(async () => (await member.heard("challenge")).length > challenges || (await verdicts()).includes("locked-out"), "an answer to the wish", 10_000, () => member.everything());
        if ((await verdicts()).includes("locked-out")) break;
        const refusals = (await verdicts()).length;
        const { data } = (await member.heard("challenge")).at(-1);
        await member.send(at, member.proof(Buffer.alloc(16, tries), data, "Anna"));
        await until(async () => (await verdicts()).length > refusals, "a refusal", 10_000, () => member.everything());
      }
      assert.equal((await verdicts()).at(-1), "locked-out");
      const refusals = (await verdicts()).length;
      await member.tell(at, "open");
      await until(async () => (await verdicts()).length > refusals, "a further refusal", 10_000, () => member.everything());
      assert.equal((await verdicts()).at(-1), "locked-out");
      await staysLocked();
      assert.equal(callState(await door.status()), "talking", "the visitor is not hung up on");
    });

    test("has nothing of the secret in its log", { timeout: TEST_MS }, async () => {
      const anna = await watching(null, person.link);
      await talks(anna);
      await hold(anna);
      await anna.untilSays("#note", /door is open/);
      assert.equal(door.wholeLog.includes(person.secret), false);
    });
  });
});
