// The parts of the answer page beside the state of the call, without a browser: what it reads, proves, keeps and says.

import assert from "node:assert/strict";
import { createHash, createHmac, randomBytes, webcrypto } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { describe, mock, test } from "node:test";
import { fileURLToPath } from "node:url";
import { next, start } from "../../web/call.js";
import { readLink } from "../../web/config.js";
import { HOLD_MS, HoldButton, SURE_MS } from "../../web/hold.js";
import { LANGUAGES, choose, speaker } from "../../web/language.js";
import { nextLook } from "../../web/looking.js";
import { IDLE, nextOpening } from "../../web/opening.js";
import { MOST_PAST, followed, isMissed, logged, openedBy, pictured, readPast } from "../../web/past.js";
import { photoName } from "../../web/pictures.js";
import { pageName, prove, readSecret } from "../../web/prove.js";
import { Steady, judge, sample } from "../../web/quality.js";
import { readMessage } from "../../web/read.js";
import { waking } from "../../web/waking.js";
import { lineOfText, lookWords, pastWords, personName } from "../../web/words.js";

// Node 18, of Debian 12, has it as a module only.
globalThis.crypto ??= webcrypto;

const WEB = resolve(dirname(fileURLToPath(import.meta.url)), "../../web");
const jpeg = (bytes) => Buffer.concat([Buffer.from([0xff, 0xd8, 0xff]), Buffer.alloc(bytes - 3, 7)]).toString("base64");

describe("messages of the door", () => {
  const call = { intercomd: 1, type: "call", call: "c-17-3", seq: 4, stage: "talking", age_ms: 9120, ringing_at: 2, answered_by: "x", answered_name: "Anna", may: ["open", "fly"] };

  test("are read in version 1 only, and everything else is ignored", () => {
    const { notice } = readMessage(call);
    assert.deepEqual(notice, { call: "c-17-3", seq: 4, stage: "talking", ageMs: 9120, ringingAt: 2, answeredBy: "x", answeredName: "Anna", may: ["open", "fly"], cause: null });
    for (const bad of [null, "call", [], {}, { ...call, intercomd: 2 }, { ...call, type: "news" }, { ...call, type: "toString" }, { ...call, stage: "lost" }]) {
      assert.equal(readMessage(bad), null);
    }
  });

  test("of a door that does not count yet are read, too", () => {
    const { notice } = readMessage({ intercomd: 1, type: "call", call: "c-1", stage: "ringing", answered_by: null });
    assert.deepEqual(notice, { call: "c-1", seq: null, stage: "ringing", ageMs: null, ringingAt: 0, answeredBy: null, answeredName: null, may: [], cause: null });
  });

  test("with values of the wrong kind lose those values", () => {
    const { notice } = readMessage({ ...call, seq: -1, age_ms: "7", ringing_at: 1.5, answered_by: 3, answered_name: {}, may: "open", cause: 1 });
    assert.deepEqual(notice, { call: "c-17-3", seq: null, stage: "talking", ageMs: null, ringingAt: 0, answeredBy: null, answeredName: null, may: [], cause: null });
  });

  test("bring names as one short line", () => {
    const named = (answered_name) => readMessage({ ...call, answered_name }).notice.answeredName;
    assert.equal(named(" Anna\nBea\u202e "), "Anna Bea");
    assert.equal([...named("🙂".repeat(80))].length, 32);
    assert.equal(named("   "), null);
  });

  test("tell how much of the picture comes", () => {
    assert.deepEqual(readMessage({ intercomd: 1, type: "full" }), { type: "supply", supply: "waiting" });
    assert.deepEqual(readMessage({ intercomd: 1, type: "video", mode: "paused" }), { type: "supply", supply: "paused" });
    assert.equal(readMessage({ intercomd: 1, type: "video", mode: "blue" }), null);
  });

  test("bring a picture only if it is a small JPEG in base64", () => {
    const read = (jpeg, call = "c-1") => readMessage({ intercomd: 1, type: "picture", call, jpeg });
    assert.deepEqual(read(jpeg(300)), { type: "picture", call: "c-1", url: `data:image/jpeg;base64,${jpeg(300)}` });
    assert.notEqual(read(jpeg(40 * 1024)), null);
    const png = Buffer.from([0x89, 0x50, 0x4e, 0x47]).toString("base64");
    for (const bad of [jpeg(40 * 1024 + 1), png, "", 7, null, `${jpeg(300).slice(0, -4)}"><b>`, jpeg(300).slice(1), `/9j/${" ".repeat(4)}`]) {
      assert.equal(read(bad), null, String(bad).slice(0, 20));
    }
    assert.equal(read(jpeg(300), null), null);
  });

  test("about a proof are read only as written", () => {
    const nonce = "9f".repeat(32);
    assert.deepEqual(readMessage({ intercomd: 1, type: "challenge", call: "c-1", purpose: "open", nonce }), { type: "challenge", call: "c-1", purpose: "open", nonce });
    for (const bad of [{ purpose: "fly" }, { nonce: nonce.slice(2) }, { nonce: nonce.toUpperCase() }, { nonce: `${nonce}\n` }, { call: null }]) {
      assert.equal(readMessage({ intercomd: 1, type: "challenge", call: "c-1", purpose: "open", nonce, ...bad }), null);
    }
    assert.deepEqual(readMessage({ intercomd: 1, type: "opened", call: "c-1", for_ms: 3000, by: "Anna" }), { type: "opened", call: "c-1", forMs: 3000, by: "Anna" });
    assert.deepEqual(readMessage({ intercomd: 1, type: "refused", call: "c-1", purpose: "log", why: "wrong" }), { type: "refused", call: "c-1", purpose: "log", why: "wrong" });
  });

  test("bring the log with its good entries, 50 at most", () => {
    const entry = { call: "c-9", at: 1795690000, outcome: "no-answer", answered_by: null, opened_by: null, talk_s: 0 };
    const { entries } = readMessage({ intercomd: 1, type: "log", call: "c-1", entries: [entry, null, { ...entry, at: "now" }, { ...entry, call: 3 }] });
    assert.deepEqual(entries, [{ call: "c-9", at: 1795690000000, outcome: "no-answer", answeredBy: null, openedBy: null, talkSeconds: 0 }]);
    assert.equal(readMessage({ intercomd: 1, type: "log", call: "c-1", entries: Array(80).fill(entry) }).entries.length, 50);
  });
});

describe("the proof", () => {
  // Written a second time from docs/door-protocol.md, with another library, as the door checks it.
  const isProved = (storedKey, claim, proof) => {
    const message = ["intercomd 1", claim.purpose, claim.call, claim.nonce, claim.peerId, claim.person].join("\n");
    const signature = createHmac("sha256", storedKey).update(message, "utf8").digest();
    const clientKey = Buffer.from(proof, "hex").map((byte, n) => byte ^ signature[n]);
    return createHash("sha256").update(clientKey).digest().equals(storedKey);
  };
  const secret = randomBytes(16);
  const storedKey = createHash("sha256").update(createHmac("sha256", secret).update("intercomd person 1").digest()).digest();
  const claim = { purpose: "open", call: "c-5f0c2a91-17", nonce: "9f".repeat(32), peerId: "7d1e0c52", person: "Änne" };

  test("is what a door that keeps only the stored key accepts", async () => {
    const proof = await prove(secret, claim);
    assert.match(proof, /^[0-9a-f]{64}$/);
    assert.equal(isProved(storedKey, claim, proof), true);
  });

  test("is good for nothing else: purpose, call, nonce, page or person", async () => {
    const proof = await prove(secret, claim);
    for (const other of [{ purpose: "log" }, { call: "c-2" }, { nonce: "00".repeat(32) }, { peerId: "me" }, { person: "Ben" }]) {
      assert.equal(isProved(storedKey, { ...claim, ...other }, proof), false);
    }
    assert.equal(isProved(storedKey, claim, await prove(randomBytes(16), claim)), false);
  });

  test("of the secret 00 01 … 0f is what Python's hmac makes of it", async () => {
    const proof = await prove(Uint8Array.from({ length: 16 }, (_, n) => n), { purpose: "open", call: "c-1", nonce: "00".repeat(32), peerId: "p", person: "Anna" });
    assert.equal(proof, "6c8fe99aea721af6de4293c024ec67759a7126a471a5d8bdd5994fc03b4ecfae");
  });

  test("takes its secret from the link: 16 bytes in base64url without padding", () => {
    assert.deepEqual(Buffer.from(readSecret(secret.toString("base64url"))), secret);
    for (const bad of ["", "short", secret.toString("base64"), `${secret.toString("base64url")}A`, "!".repeat(22), "AAAAAAAAAAAAAAAAAAAAAB"]) assert.equal(readSecret(bad), null);
    const link = readLink(`#channel=a&key=b&person=Anna%20B&secret=${secret.toString("base64url")}`, "http://x");
    assert.equal(link.rights.person, "Anna B");
    assert.equal(link.mangled, false);
    assert.equal(readLink("#channel=a&key=b", "http://x").mangled, false);
    const cut = readLink("#channel=a&key=b&person=Anna&secret=nope", "http://x");
    assert.equal(cut.rights, null);
    assert.equal(cut.mangled, true, "and the page says so");
    assert.equal(readLink(`#channel=a&key=b&secret=${secret.toString("base64url")}`, "http://x").rights, null);
  });

  test("has nothing to do with the page's name, which is another one at each door", async () => {
    const names = await Promise.all([pageName("p", "door"), pageName("p", "door-2"), pageName("q", "door")]);
    assert.equal(new Set(names).size, 3);
    assert.ok(names.every((name) => /^[0-9a-f]{64}$/.test(name)));
  });
});

describe("looking", () => {
  const run = (...events) => events.reduce(nextLook, IDLE);
  const [ask, challenge, looking] = [{ type: "ask" }, { type: "challenge", from: "d" }, { type: "looking", from: "d", forMs: 60_000, at: 5 }];

  test("goes from asking over the proof to the picture, and ends by the door's word, its leaving, or this page's", () => {
    assert.equal(run(ask).step, "asking");
    assert.deepEqual(run(ask, challenge, looking), { step: "looking", door: "d", until: 60_005 });
    for (const type of ["look-over", "peer-left"]) assert.equal(run(ask, challenge, looking, { type, from: "d" }).step, "over");
    assert.equal(run(ask, challenge, looking, { type: "stop" }).step, "idle");
    assert.equal(run(ask, challenge, looking, { type: "time-up" }).step, "over", "when the door's word is lost");
    assert.equal(run(ask, challenge, looking, { type: "line", line: "up", own: "another" }).step, "over", "under another id");
    assert.equal(run(ask, challenge, looking, { type: "line", line: "down" }).step, "looking", "the picture may go on");
    assert.equal(run(ask, { type: "late" }).why, "no-answer");
    assert.equal(run(ask, challenge, { type: "refused", from: "d", why: "wrong" }).why, "wrong");
  });

  test("believes nobody but the door it has proved itself to", () => {
    assert.equal(run(ask, challenge, { ...looking, from: "x" }).step, "proved");
    assert.equal(run(ask, looking).step, "asking");
    assert.equal(run(ask, challenge, looking, { type: "look-over", from: "x" }).step, "looking");
    assert.equal(run(ask, challenge, looking, { type: "refused", from: "x", why: "busy" }).step, "looking");
    assert.equal(run(ask, challenge, { type: "challenge", from: "x" }).door, "d");
  });

  test("is told in words for every state and reason", async () => {
    const { default: english } = await import("../../web/lang/en.js");
    const reasons = ["nobody", "wrong", "expired", "locked-out", "busy", "stopping", "no-answer", "unsent", "line", "news to us"];
    const states = [{ step: "asking" }, { step: "proved" }, { step: "looking", until: 9_000 }, { step: "over" }, ...reasons.map((why) => ({ step: "refused", why }))];
    const say = speaker(english);
    for (const state of states) assert.notEqual(lookWords(say, state), "");
  });
});

describe("being woken", () => {
  const all = { key: "B1", person: true, supported: true, apple: false, installed: false, permission: "granted", subscription: { key: "B1", endpoint: "e" }, told: "e", tried: null };

  test("is promised only when browser and door both know", () => {
    assert.equal(waking(all), "on");
    assert.equal(waking({ ...all, told: null }), "untold");
    assert.equal(waking({ ...all, told: "another" }), "untold");
    assert.equal(waking({ ...all, subscription: { key: "B2", endpoint: "e" } }), "off", "given for another door's key");
    assert.equal(waking({ ...all, permission: "default" }), "off");
    assert.equal(waking({ ...all, subscription: null, tried: "failed" }), "failed");
  });

  test("says what stands in its way", () => {
    assert.equal(waking({ ...all, key: null }), "none");
    assert.equal(waking({ ...all, person: false }), "none");
    assert.equal(waking({ ...all, permission: "denied" }), "denied");
    assert.equal(waking({ ...all, supported: false }), "unsupported");
    assert.equal(waking({ ...all, supported: false, apple: true }), "home");
    assert.equal(waking({ ...all, supported: false, apple: true, installed: true }), "unsupported");
  });

  test("takes the door's key from the link, if it is one", () => {
    const key = `B${"A".repeat(86)}`;
    assert.equal(readLink(`#channel=a&key=b&push=${key}`, "http://x").push, key);
    for (const bad of ["", "B", `C${"A".repeat(86)}`, `B${"!".repeat(86)}`]) assert.equal(readLink(`#channel=a&key=b&push=${bad}`, "http://x").push, null);
  });
});

describe("opening", () => {
  const ask = { type: "ask", call: "c-1" };
  const challenge = { type: "challenge", call: "c-1" };
  const opened = { type: "opened", call: "c-1", by: "Anna", forMs: 3000 };
  const refused = { type: "refused", call: "c-1", why: "wrong" };
  const run = (...events) => events.reduce(nextOpening, IDLE);

  test("goes from asking over the proof to the open door", () => {
    assert.equal(run(ask).step, "asked");
    assert.equal(run(ask, challenge).step, "proved");
    assert.deepEqual(run(ask, challenge, opened), { step: "opened", call: "c-1", by: "Anna", forMs: 3000 });
    assert.equal(run(ask, challenge, opened, { type: "told" }), IDLE);
  });

  test("proves once, and only what was asked in this call", () => {
    assert.equal(run(challenge), IDLE);
    assert.equal(run(ask, { ...challenge, call: "c-2" }).step, "asked");
    const proved = run(ask, challenge);
    assert.equal(nextOpening(proved, challenge), proved);
  });

  test("says the door's refusal, and its silence", () => {
    assert.equal(run(ask, refused).why, "wrong");
    assert.equal(run(ask, { type: "late" }).why, "no-answer");
    assert.equal(run(refused), IDLE, "nobody asked");
  });

  test("is told to those who did not ask, and ends with the call", () => {
    assert.equal(run(opened).by, "Anna");
    assert.equal(run(ask, { type: "call-over" }), IDLE);
  });

  test("is not asked twice at a time", () => {
    const asked = run(ask);
    assert.equal(nextOpening(asked, ask), asked);
  });
});

describe("the button that opens", () => {
  const made = () => {
    const clock = { now: 0, timers: new Map(), next: 1 };
    clock.setTimeout = (act, ms) => (clock.timers.set(clock.next, { act, at: clock.now + ms }), clock.next++);
    clock.clearTimeout = (id) => clock.timers.delete(id);
    clock.pass = (ms) => {
      clock.now += ms;
      for (const [id, { act, at }] of [...clock.timers]) if (at <= clock.now && clock.timers.delete(id)) act();
    };
    const act = mock.fn();
    return { clock, act, button: new HoldButton(act, () => {}, clock) };
  };

  test("wants a finger to rest on it", () => {
    const { clock, act, button } = made();
    button.press();
    clock.pass(HOLD_MS - 1);
    assert.equal(act.mock.callCount(), 0);
    clock.pass(1);
    assert.equal(act.mock.callCount(), 1);
    assert.equal(button.state, "rest");
    clock.pass(60_000);
    assert.equal(act.mock.callCount(), 1);
  });

  test("does nothing for a tap but say what it wants", () => {
    const { clock, act, button } = made();
    button.press();
    clock.pass(HOLD_MS / 2);
    button.release();
    assert.equal(button.state, "hint");
    clock.pass(60_000);
    assert.equal(button.state, "rest");
    assert.equal(act.mock.callCount(), 0);
  });

  test("wants those who cannot hold to come twice, soon", () => {
    const { clock, act, button } = made();
    button.activate();
    assert.equal(button.state, "sure?");
    clock.pass(SURE_MS);
    button.activate();
    assert.equal(act.mock.callCount(), 0);
    button.activate();
    assert.equal(act.mock.callCount(), 1);
  });

  test("forgets a half-made wish with the call", () => {
    const { clock, act, button } = made();
    button.press();
    button.reset();
    clock.pass(60_000);
    assert.equal(act.mock.callCount(), 0);
  });
});

describe("past calls", () => {
  const now = { wall: 1_800_000_000_000, at: 50_000 };
  const notice = (stage, more = {}) => ({
    type: "notice", from: "door", at: 50_000,
    notice: { call: "c-1", seq: null, stage, ageMs: 10_000, ringingAt: 0, answeredBy: null, answeredName: null, may: ["take"], cause: null, ...more },
  });
  const armed = [{ type: "line", line: "connecting" }, { type: "line", line: "up", own: "me" }].reduce(next, start());
  const lived = (events, list = []) => {
    let state = armed;
    for (const event of events) {
      const after = next(state, event);
      list = followed(list, state, after, now);
      state = after;
    }
    return list;
  };

  test("begin at the press, by the page's own clock", () => {
    const [past] = lived([notice("ringing")]);
    assert.equal(past.at, now.wall - 10_000);
    assert.equal(isMissed(past, "c-1"), false, "it still rings");
  });

  test("are missed when nobody came", () => {
    for (const event of [notice("ended", { cause: "no-answer" }), { type: "peer-left", from: "door" }, { type: "line", line: "connecting" }]) {
      assert.equal(isMissed(lived([notice("ringing"), event])[0]), true);
    }
  });

  test("are missed when answered here, and no picture or sound ever came", () => {
    const [past] = lived([notice("ringing"), { type: "answer" }, notice("ended", { cause: "unreached" })]);
    assert.equal(isMissed(past), true);
  });

  test("are not missed when anybody answered or declined", () => {
    for (const events of [
      [notice("ringing"), { type: "answer" }, { type: "hangup" }],
      [notice("ringing"), { type: "hangup" }],
      [notice("ringing"), notice("talking", { answeredBy: "x", answeredName: "Anna" }), notice("ended", { cause: "hung-up" })],
      [notice("talking", { answeredBy: "x", answeredName: "Anna" })],
      [notice("ringing"), notice("ended", { cause: "declined" })],
    ]) assert.equal(isMissed(lived(events)[0]), false);
  });

  test("say who answered, also when it was taken over", async () => {
    const { default: english } = await import("../../web/lang/en.js");
    const say = speaker(english);
    const words = (events) => pastWords(say, lived(events)[0]);
    assert.equal(words([notice("ringing"), notice("talking", { answeredBy: "x", answeredName: "Anna" })]), "Answered by Anna");
    const mine = [notice("ringing"), { type: "answer" }, notice("talking", { answeredBy: "me" })];
    assert.equal(words([...mine, notice("talking", { answeredBy: "x", answeredName: "Anna" })]), "Answered by you");
    assert.equal(pastWords(say, openedBy(lived(mine), "c-1", "Anna")[0]), "Answered by you · Opened by Anna");
    assert.equal(words([notice("ringing"), notice("ended", { cause: "no-answer" })]), "Missed");
  });

  test("hold the newest twenty, newest first", () => {
    let list = [];
    for (let n = 0; n < 30; n += 1) list = logged(list, [{ call: `c-${n}`, at: n * 1000, outcome: "hung-up", answeredBy: null, openedBy: null, talkSeconds: 0 }]);
    assert.equal(list.length, MOST_PAST);
    assert.equal(list[0].call, "c-29");
  });

  test("get from the door's log what this page slept through, and keep what it saw itself", () => {
    const seen = pictured(lived([notice("ringing"), { type: "hangup" }]), "c-1", "data:image/jpeg;base64,/9j/");
    const entry = (call, more = {}) => ({ call, at: now.wall - 60_000, outcome: "no-answer", answeredBy: null, openedBy: null, talkSeconds: 0, ...more });
    const list = logged(seen, [entry("c-1"), entry("c-0"), entry("c-q", { outcome: "quiet", at: now.wall - 90_000 }), entry("c-a", { answeredBy: "Ben", openedBy: "Ben", at: 5 })]);
    assert.deepEqual(list.map(({ call }) => call), ["c-1", "c-0", "c-q", "c-a"]);
    assert.equal(list[0].outcome, "you-declined");
    assert.notEqual(list[0].picture, null);
    assert.deepEqual(list.map((past) => isMissed(past)), [false, true, true, false]);
    assert.equal(list[3].opened, "Ben");
  });

  test("that were cleared do not come back from the door's log", () => {
    assert.deepEqual(logged([], [{ call: "c-0", at: 500, outcome: "no-answer", answeredBy: null, openedBy: null, talkSeconds: 0 }], 1000), []);
  });

  test("are read from the store with a doubt", () => {
    assert.deepEqual(readPast("x"), []);
    assert.deepEqual(readPast([null, 7, {}, { call: "c", at: "x" }]), []);
    const [past] = readPast([{ call: "c", at: 5, answered: "they", picture: "https://elsewhere/x.jpg", outcome: 3 }]);
    assert.deepEqual(past, { call: "c", at: 5, outcome: null, answered: "nobody", name: null, opened: null, picture: null, heard: "page" });
  });
});

describe("what the browser keeps", () => {
  const room = (bytes) => {
    const kept = new Map();
    return {
      kept,
      getItem: (key) => kept.get(key) ?? null,
      removeItem: (key) => kept.delete(key),
      setItem(key, value) {
        if (value.length > bytes) throw new DOMException("full", "QuotaExceededError");
        kept.set(key, value);
      },
    };
  };
  const withStore = async (name, store, act) => {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value: store, configurable: true });
    try {
      await act(await import("../../web/store.js"));
    } finally {
      if (before) Object.defineProperty(globalThis, name, before);
      else delete globalThis[name];
    }
  };
  const list = Array.from({ length: 20 }, (_, n) => ({ call: `c-${n}`, at: 1000 - n, outcome: null, answered: "nobody", name: null, opened: null, picture: `data:image/jpeg;base64,${"A".repeat(4000)}`, heard: "page" }));

  test("is the whole list where there is room, and the newest pictures or none where there is little", async () => {
    for (const [bytes, pictures] of [[1e6, 20], [25_000, 4], [6_000, 0]]) {
      await withStore("localStorage", room(bytes), ({ savePast, savedPast }) => {
        savePast("front-door", list);
        const back = savedPast("front-door");
        assert.equal(back.length, 20);
        assert.equal(back.filter(({ picture }) => picture !== null).length, pictures);
      });
    }
  });

  test("is nothing, without harm, where the browser refuses", async () => {
    const refusing = { getItem() { throw new DOMException("no", "SecurityError"); }, setItem() { throw new DOMException("no", "SecurityError"); } };
    await withStore("localStorage", refusing, ({ savePast, savedPast, savedVolume, savedName, saveCleared }) => {
      savePast("front-door", list);
      saveCleared("front-door", 5);
      assert.deepEqual(savedPast("front-door"), []);
      assert.equal(savedVolume(), 1);
      assert.equal(savedName(), null);
    });
  });

  test("is an interrupted talk for a moment, and for one page only", async () => {
    await withStore("sessionStorage", room(1e6), ({ saveTalk, takeTalk }) => {
      const talk = { page: "p", call: "c-1", how: "answer", own: ["me-1"] };
      saveTalk(talk, 1000);
      assert.equal(takeTalk(2000).call, "c-1");
      assert.equal(takeTalk(2000), null);
      saveTalk(talk, 1000);
      assert.equal(takeTalk(60_000), null);
    });
  });
});

describe("the quality of the connection", () => {
  const counted = (at, more) => ({ lost: 0, received: 0, decoded: 0, rttMs: 20, at, ...more });
  const judged = (more, supply = "full") => judge(counted(0, { received: 100, decoded: 10 }), counted(2000, { received: 300, decoded: 40, ...more }), supply);

  test("is good, weak or very weak by loss, delay and pictures", () => {
    assert.equal(judged({}), "good");
    assert.equal(judged({ lost: 15 }), "weak");
    assert.equal(judged({ lost: 80 }), "very-weak");
    assert.equal(judged({ rttMs: 500 }), "weak");
    assert.equal(judged({ rttMs: 1200 }), "very-weak");
    assert.equal(judged({ decoded: 18 }), "weak");
    assert.equal(judged({ decoded: 10 }), "very-weak");
    assert.equal(judged({ received: 100 }), "very-weak", "nothing comes at all");
  });

  test("is not better than what the door can send, and few pictures are no fault where it sends few", () => {
    assert.equal(judged({ decoded: 11 }, "keyframes"), "weak");
    assert.equal(judged({ decoded: 10 }, "paused"), "very-weak");
  });

  test("is unknown when the counters began anew", () => assert.equal(judge(counted(0, { received: 500 }), counted(2000, { received: 3 }), "full"), null));

  test("is said anew only when it was found twice", () => {
    const steady = new Steady();
    assert.deepEqual(["good", "weak", "good", "weak", "weak", null].map((found) => steady.take(found)), ["good", "good", "good", "good", "weak", "weak"]);
  });

  test("is read from all that comes in and from the pair in use", () => {
    const reports = [
      { type: "inbound-rtp", kind: "video", packetsLost: 2, packetsReceived: 100, framesDecoded: 30 },
      { type: "inbound-rtp", kind: "audio", packetsLost: -1, packetsReceived: 50 },
      { type: "candidate-pair", nominated: false, state: "succeeded", currentRoundTripTime: 9 },
      { type: "candidate-pair", nominated: true, state: "succeeded", currentRoundTripTime: 0.05 },
    ];
    assert.deepEqual(sample(reports, 7), { lost: 2, received: 150, decoded: 30, rttMs: 50, at: 7 });
  });
});

describe("texts and names", () => {
  test("to the door are one line of at most so many characters", () => {
    assert.equal(lineOfText("  I am\n coming\t"), "I am coming");
    assert.equal(lineOfText(" \n "), null);
    assert.equal([...lineOfText("🙂".repeat(200))].length, 120);
    assert.equal([...personName("🙂".repeat(200))].length, 32);
    assert.equal(personName(null), null);
  });

  test("of photos say which door and when, and are file names anywhere", () => {
    assert.equal(photoName("Garden gate / Süd", new Date(2026, 0, 31, 18, 45, 2)), "garden-gate-süd-20260131-184502.jpg");
    assert.match(photoName("///", new Date()), /^door-/);
  });
});

describe("the languages", () => {
  const load = async (code) => (await import(`../../web/lang/${code}.js`)).default;
  const gaps = (sentence) => [...sentence.matchAll(/\{(\w+)\}/g)].map(([, gap]) => gap).sort().join();

  test("are one file each, and each is in the list", () => {
    assert.deepEqual(readdirSync(join(WEB, "lang")).sort(), LANGUAGES.map((code) => `${code}.js`).sort());
  });

  test("have the same keys, all filled, with the same gaps", async () => {
    const english = await load("en");
    for (const code of LANGUAGES) {
      const sentences = await load(code);
      assert.deepEqual(Object.keys(sentences).sort(), Object.keys(english).sort(), code);
      for (const [key, sentence] of Object.entries(sentences)) {
        assert.notEqual(sentence.trim(), "", `${code}: ${key}`);
        assert.equal(gaps(sentence), gaps(english[key]), `${code}: ${key}`);
      }
    }
  });

  test("have every quick reply short enough for the door", async () => {
    for (const code of LANGUAGES) {
      const sentences = await load(code);
      for (const key of Object.keys(sentences).filter((key) => key.startsWith("quick-"))) assert.equal(lineOfText(sentences[key]), sentences[key]);
    }
  });

  test("hold every sentence that the page asks for, and no other", async () => {
    const english = await load("en");
    const sources = readdirSync(WEB).filter((file) => /\.(js|html)$/.test(file)).map((file) => readFileSync(join(WEB, file), "utf8")).join("\n");
    const built = [...sources.matchAll(/`([a-z]+-)\$\{/g)].map(([, prefix]) => prefix);
    for (const key of Object.keys(english)) {
      const used = sources.includes(`"${key}"`) || built.some((prefix) => key.startsWith(prefix));
      assert.ok(used, `nobody says "${key}"`);
    }
    for (const [, key] of sources.matchAll(/(?:\bsay\(|data-(?:say|label|alt|hint|quick)=)"([\w-]+)"/g)) assert.ok(Object.hasOwn(english, key), `no sentence "${key}"`);
  });

  test("are the only place with sentences", () => {
    const html = readFileSync(join(WEB, "index.html"), "utf8").replace(/<noscript>.*<\/noscript>/s, "").replace(/<code>.*?<\/code>/gs, "").replace(/<title>.*?<\/title>/s, "");
    assert.doesNotMatch(html.replace(/<[^>]*>/g, " "), /\p{L}/u);
    assert.doesNotMatch(html, /(?:aria-label|placeholder|title)="/);
    for (const file of readdirSync(WEB).filter((file) => file.endsWith(".js"))) {
      const code = readFileSync(join(WEB, file), "utf8").replace(/^\s*(\/\/|\/?\*).*$/gm, "").replace(/new Error\(.*\)/g, "");
      // Two words and a full stop in quotes are a sentence.
      assert.doesNotMatch(code, /"[^"]*\p{L}+ \p{L}+[^"]*[.!?…]"/u, file);
    }
  });

  test("are chosen by the person, else by the browser, else English", () => {
    assert.equal(choose(["de-AT", "en"]), "de");
    assert.equal(choose(["fr", "en-GB"]), "en");
    assert.equal(choose(["fr"]), "en");
    assert.equal(choose(["de"], "en"), "en");
    assert.equal(choose(["de"], "tlh"), "de");
  });

  test("fill gaps, also with words that look like gaps, and have no word for nothing", () => {
    const say = speaker({ hello: "Hello {name}, {name}!" });
    assert.equal(say("hello", { name: "{name}$&" }), "Hello {name}$&, {name}$&!");
    assert.throws(() => say("toString"));
  });
});

describe("the built page", () => {
  test("has every file that its files ask for", () => {
    const dist = mkdtempSync(join(tmpdir(), "intercomd-dist-"));
    try {
      execFileSync(process.execPath, [join(WEB, "build.mjs"), dist]);
      for (const file of readdirSync(dist).filter((name) => /\.(js|html|webmanifest)$/.test(name))) {
        const source = readFileSync(join(dist, file), "utf8");
        const asked = [...source.matchAll(/(?:from "\.\/|(?:src|href)="|"src": ")([\w./-]+)"/g)].map(([, name]) => name);
        for (const name of asked) assert.ok(existsSync(join(dist, name)), `${file} asks for ${name}`);
      }
      for (const code of LANGUAGES) assert.ok(existsSync(join(dist, "lang", `${code}.js`)));
    } finally {
      rmSync(dist, { recursive: true, force: true });
    }
  });

  test("has icons of the sizes that its manifest promises", () => {
    const { icons } = JSON.parse(readFileSync(join(WEB, "manifest.webmanifest"), "utf8"));
    const pngs = icons.filter(({ type }) => type === "image/png");
    assert.deepEqual(pngs.map(({ sizes, purpose }) => `${sizes} ${purpose}`), ["192x192 any", "512x512 any", "512x512 maskable"]);
    for (const { src, sizes } of [...pngs, { src: "icons/apple-touch-180.png", sizes: "180x180" }]) {
      const png = readFileSync(join(WEB, src));
      assert.equal(png.subarray(1, 4).toString(), "PNG");
      assert.equal(`${png.readUInt32BE(16)}x${png.readUInt32BE(20)}`, sizes);
    }
  });
});
