// The answer page's own rules, without a browser: links, the state of the call, and its words.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { adrift, next, phase, reachable, start, taking } from "../../web/call.js";
import { readLink } from "../../web/config.js";
import english from "../../web/lang/en.js";
import { speaker } from "../../web/language.js";
import { ageWords, downWords, endWords, isReady, mediaWords, openingWords, otherWords, refusedWords, sleptWords, statusWords } from "../../web/words.js";

const say = speaker(english);

const run = (events, from = start()) => events.reduce(next, from);
const up = (own = "me-1") => ({ type: "line", line: "up", own });
const connecting = { type: "line", line: "connecting" };
const down = { type: "line", line: "down", text: "gone" };
const said = (stage, more = {}, from = "door") => ({
  type: "notice",
  from,
  notice: { call: "c-1", seq: null, stage, ageMs: null, ringingAt: 0, answeredBy: null, answeredName: null, may: [], cause: null, ...more },
});
/** What somebody may do in the tests of handing over. */
const ALL = ["open", "take", "join", "text"];
const left = (from = "door") => ({ type: "peer-left", from });
const answer = { type: "answer" };
const hangup = { type: "hangup" };
const armed = () => run([connecting, up()]);
const ringing = () => run([said("ringing")], armed());
const talking = () => run([answer, said("talking", { answeredBy: "me-1" })], ringing());

describe("the link", () => {
  test("names channel and key; the rest has defaults", () => {
    const link = readLink("#channel=front-door&key=pk%2B1", "https://door.local:8443");
    assert.deepEqual(link, { ok: true, channel: "front-door", key: "pk+1", url: "wss://door.local:8443", name: "front-door", rights: null, looks: false, push: null, wake: false, mangled: false });
  });

  test("may name another signalling address and a friendly name", () => {
    const link = readLink("channel=a&key=b&url=wss%3A%2F%2Fexample.org&name=Garden%20gate", "http://127.0.0.1:8080");
    assert.equal(link.url, "wss://example.org");
    assert.equal(link.name, "Garden gate");
  });

  test("without them it says what is missing", () => {
    assert.deepEqual(readLink("", "http://x"), { ok: false, missing: ["channel", "key"] });
    assert.deepEqual(readLink("#channel=a&key=", "http://x"), { ok: false, missing: ["key"] });
  });
});

describe("how much of the picture the door sends", () => {
  const supply = (supply, from = "door") => ({ type: "supply", from, supply });

  test("is told to the person, and taken back when all is well", () => {
    const media = { video: "on", audio: "on", trouble: "" };
    const slow = run([supply("paused")], talking());
    assert.match(statusWords(say, slow, media).detail, /sound only/);
    assert.match(statusWords(say, run([supply("full")], slow), media).detail, /sees and hears you/);
  });

  test("is not believed from another peer", () => assert.equal(run([supply("paused", "phone")], talking()).call.supply, "full"));

  test("waiting for a place ends with the connection", () => {
    const waiting = run([supply("waiting")], ringing());
    assert.equal(waiting.call.supply, "waiting");
    assert.equal(run([{ type: "path", from: "door", path: "fine" }], waiting).call.supply, "full");
  });
});

describe("the ring", () => {
  test("starts with the door's word", () => assert.equal(phase(ringing()), "ringing"));

  test("starts with the door's picture when the door says nothing", () => {
    assert.equal(phase(run([{ type: "door-stream", from: "door" }], armed())), "ringing");
  });

  test("does not start with the picture of a door that is talking with somebody", () => {
    const state = run([said("talking", { answeredBy: "other" }), { type: "door-stream", from: "door" }], armed());
    assert.equal(phase(state), "armed");
    assert.equal(state.other.call, "c-1");
  });

  test("never outlives the door", () => {
    const state = run([left()], ringing());
    assert.equal(phase(state), "ended");
    assert.equal(state.ended.cause, "door-left");
  });

  test("is not touched by another phone that leaves", () => assert.equal(phase(run([left("phone")], ringing())), "ringing"));

  test("ends with the door's cause", () => {
    const state = run([said("ended", { cause: "no-answer" })], ringing());
    assert.equal(phase(state), "ended");
    assert.equal(state.ended.cause, "no-answer");
    assert.equal(phase(run([{ type: "seen" }], state)), "armed");
  });

  test("ends when somebody else answers", () => {
    const state = run([said("talking", { answeredBy: "other" })], ringing());
    assert.equal(phase(state), "ended");
    assert.equal(state.ended.cause, "answered-elsewhere");
  });

  test("once declined stays silent for that call, and rings for the next", () => {
    const declined = run([hangup, said("ringing"), { type: "door-stream", from: "door" }], ringing());
    assert.equal(phase(declined), "ended");
    assert.equal(declined.ended.cause, "you-declined");
    assert.equal(phase(run([said("ringing", { call: "c-2" })], declined)), "ringing");
  });

  test("once declined stays silent even when the door comes back under another id", () => {
    assert.equal(phase(run([hangup, left(), said("ringing", {}, "door-2")], ringing())), "ended");
  });

  test("goes on after this phone joined anew", () => {
    const lost = run([connecting], ringing());
    assert.equal(phase(lost), "connecting");
    assert.equal(phase(run([up("me-2"), said("ringing")], lost)), "ringing");
  });
});

describe("the talk", () => {
  test("starts with the tap and is confirmed by the door", () => {
    assert.equal(run([answer], ringing()).call.confirmed, false);
    assert.equal(phase(talking()), "talking");
    assert.equal(talking().call.confirmed, true);
  });

  test("is not undone by a ringing notice that was under way", () => {
    assert.equal(phase(run([answer, said("ringing")], ringing())), "talking");
  });

  test("is given up when the door talks with somebody else", () => {
    const state = run([answer, said("talking", { answeredBy: "other" })], ringing());
    assert.equal(state.call, null);
    assert.equal(state.ended.cause, "answered-elsewhere");
  });

  test("ends with our hang-up, and the door's farewell does not change the cause", () => {
    const state = run([hangup, said("ended", { cause: "hung-up" }), left()], talking());
    assert.equal(state.call, null);
    assert.equal(state.ended.cause, "you-hung-up");
  });

  test("survives a new own id, under which the door may still name the old one", () => {
    const state = run([down, up("me-2"), said("talking", { answeredBy: "me-1" })], talking());
    assert.equal(phase(state), "talking");
  });

  test("waits for a door that vanished, and goes on when it comes back", () => {
    const gone = run([left()], talking());
    assert.equal(phase(gone), "reconnecting");
    assert.equal(adrift(gone), true);
    const back = run([said("ringing", {}, "door-2")], gone);
    assert.equal(phase(back), "talking");
    assert.equal(back.call.door, "door-2");
  });

  test("is over when the door does not come back", () => {
    const state = run([left(), { type: "door-lost" }], talking());
    assert.equal(phase(state), "ended");
    assert.equal(state.ended.cause, "door-left");
  });

  test("shows repairs of its connection, and only of its own", () => {
    assert.equal(phase(run([{ type: "path", from: "phone", path: "repairing" }], talking())), "talking");
    const repairing = run([{ type: "path", from: "door", path: "repairing" }], talking());
    assert.equal(phase(repairing), "reconnecting");
    assert.equal(phase(run([{ type: "path", from: "door", path: "fine" }], repairing)), "talking");
  });
});

describe("the line", () => {
  test("refused forgets the call", () => {
    const state = run([{ type: "line", line: "refused", kind: "invalid_token", text: "closed (4001)" }], talking());
    assert.equal(phase(state), "refused");
    assert.equal(state.call, null);
  });

  test("never grows its memory of own ids without end", () => {
    let state = start();
    for (let n = 0; n < 1000; n += 1) state = next(state, up(`me-${n}`));
    assert.ok(state.own.length <= 32);
    assert.ok(state.own.includes("me-999"));
  });
});

describe("late and doubled messages", () => {
  const over = () => run([said("ringing", { seq: 1 }), said("ended", { seq: 3, cause: "no-answer" })], armed());

  test("a lower number than the highest of the call changes nothing", () => {
    const state = run([said("talking", { seq: 4, answeredBy: "other", answeredName: "Anna" })], run([said("ringing", { seq: 1 })], armed()));
    const late = run([said("ringing", { seq: 1 }), said("ringing", { seq: 3 })], state);
    assert.equal(late, state);
  });

  test("a repetition of the highest number is taken as the state that it is", () => {
    const state = run([said("ringing", { seq: 2 })], armed());
    assert.equal(phase(run([said("ringing", { seq: 2, ringingAt: 3 })], state)), "ringing");
    assert.equal(run([said("ringing", { seq: 2, ringingAt: 3 })], state).call.ringingAt, 3);
  });

  test("a call that ended never rings again, whatever number comes", () => {
    for (const seq of [null, 1, 3, 99]) assert.equal(phase(run([said("ringing", { seq })], over())), "ended");
    const later = run([{ type: "seen" }, connecting, up("me-2"), said("ringing", { seq: 4 }, "door-2"), said("talking", { seq: 5, answeredBy: "x" }, "door-2")], over());
    assert.equal(phase(later), "armed");
    assert.equal(later.other, null);
  });

  test("a call that ended is still known after the next ones have ended", () => {
    let state = over();
    for (let n = 2; n < 12; n += 1) state = run([said("ringing", { call: `c-${n}`, seq: 1 }), said("ended", { call: `c-${n}`, seq: 2 })], state);
    assert.notEqual(phase(run([said("ringing", { seq: 1 })], state)), "ringing");
    assert.equal(phase(run([said("ringing", { call: "c-12", seq: 1 })], state)), "ringing");
  });

  test("a declined call stays silent after a later call, too", () => {
    const state = run([hangup, said("ringing", { call: "c-2" }), said("ended", { call: "c-2" }), said("ringing")], ringing());
    assert.notEqual(phase(state), "ringing");
  });

  test("a call whose door came back rings on: it has not ended", () => {
    assert.equal(phase(run([left(), said("ringing", { seq: 1 }, "door-2")], run([said("ringing", { seq: 1 })], armed()))), "ringing");
  });

  test("the memory of calls has an end", () => {
    let state = armed();
    for (let n = 0; n < 1000; n += 1) state = run([said("ringing", { call: `c-${n}`, seq: 1 }), said("ended", { call: `c-${n}`, seq: 2 })], state);
    assert.ok(state.memory.length <= 32);
  });
});

describe("what a notice tells", () => {
  test("the age of the ring runs from the press, not from the page's coming", () => {
    const state = run([{ ...said("ringing", { ageMs: 12_000 }), at: 50_000 }], armed());
    assert.equal(state.call.pressedAt, 38_000);
    assert.equal(state.call.heardAt, 50_000);
    assert.equal(ageWords(say, state.call, 50_400), "rang 12 s ago");
    assert.equal(ageWords(say, state.call, 163_000), "rang 2 min ago");
  });

  test("the first hearing stays the first, over repetitions and a new attachment", () => {
    const state = run([{ ...said("ringing"), at: 10 }, { ...said("ringing"), at: 20 }, connecting, up("me-2"), { ...said("ringing"), at: 30 }], armed());
    assert.equal(state.call.heardAt, 10);
  });

  test("how many others ring is told without this page", () => {
    assert.equal(ageWords(say, { pressedAt: null, ringingAt: 3 }, 0), "also rings on 2 more");
    assert.equal(ageWords(say, { pressedAt: null, ringingAt: 1 }, 0), "");
  });

  test("who answered is told by name to those whose ring stops", () => {
    const state = run([said("talking", { answeredBy: "other", answeredName: "Anna" })], ringing());
    assert.match(statusWords(say, state, {}).detail, /Answered by Anna/);
    const unnamed = run([said("talking", { answeredBy: "other" })], ringing());
    assert.match(statusWords(say, unnamed, {}).detail, /Answered by someone/);
  });

  test("another door's ring does not tear anybody away from a talk", () => {
    const state = run([said("ringing", { call: "g-1" }, "garden")], talking());
    assert.equal(state.call.id, "c-1");
    assert.equal(phase(state), "talking");
  });
});

describe("somebody else's talk", () => {
  const elsewhere = (may = ALL) => run([said("talking", { answeredBy: "other", answeredName: "Anna", may, seq: 4 })], armed());

  test("is told to a page that comes late, as the notice is the whole state", () => {
    const state = elsewhere();
    assert.equal(phase(state), "armed");
    assert.match(otherWords(say, state.other), /^Anna is talking/);
    assert.match(otherWords(say, { ...state.other, name: null }), /^Someone is talking/);
    assert.deepEqual(reachable(state), state.other);
  });

  test("is over with its end, its door, and this page's attachment", () => {
    for (const event of [said("ended", { seq: 5 }), left(), connecting, said("ringing", { call: "c-2" })]) {
      assert.equal(run([event], elsewhere()).other, null);
    }
  });

  test("can be taken, and counts as ours when the door says so", () => {
    const taken = run([{ type: "take" }], elsewhere());
    assert.equal(taken.call.how, "take");
    assert.equal(taking(taken), true);
    assert.equal(phase(taken), "talking");
    const repeated = run([said("talking", { answeredBy: "other", answeredName: "Anna", may: ALL, seq: 4 })], taken);
    assert.equal(taking(repeated), true, "the door has not got to it yet");
    const ours = run([said("talking", { answeredBy: "me-1", may: ALL, seq: 5 })], repeated);
    assert.equal(ours.call.confirmed, true);
    assert.equal(ours.call.how, "answer", "from now on it is answered like any call");
  });

  test("that the door does not hand over is given up", () => {
    const state = run([{ type: "take" }, { type: "not-taken" }], elsewhere());
    assert.equal(state.call, null);
    assert.equal(state.ended.cause, "not-taken");
    assert.equal(run([{ type: "not-taken" }], talking()).call.confirmed, true);
  });

  test("can be joined, and goes on under the other's name", () => {
    const joined = run([{ type: "join" }, said("talking", { answeredBy: "other", answeredName: "Anna", may: ALL, seq: 5 })], elsewhere());
    assert.equal(joined.call.confirmed, true);
    assert.match(statusWords(say, joined, { video: "on", audio: "on", trouble: "" }).detail, /Anna/);
    assert.equal(run([said("talking", { answeredBy: "me-1", seq: 6 })], joined).call.how, "answer");
  });

  test("cannot be taken or joined where the door does not offer it", () => {
    assert.equal(run([{ type: "take" }, { type: "join" }], elsewhere(["text"])).call, null);
    assert.equal(run([{ type: "take" }], armed()).call, null);
  });

  test("takes a confirmed talk away from this page, by name, and may be taken back", () => {
    const state = run([said("talking", { answeredBy: "other", answeredName: "Anna", may: ALL, seq: 7 })], talking());
    assert.equal(state.ended.cause, "taken-over");
    assert.equal(state.ended.name, "Anna");
    assert.equal(run([{ type: "take" }], state).call.id, "c-1");
  });
});

describe("a page loaded again in a talk", () => {
  const again = (how = "answer") => run([connecting, up("me-2")], start({ call: "c-1", how, own: ["me-1"] }));

  test("is back in it with the door's first word, under the old id or none", () => {
    for (const answeredBy of ["me-1", null]) {
      const state = run([said("talking", { answeredBy })], again());
      assert.equal(phase(state), "talking");
      assert.equal(state.call.confirmed, false, "until the door names the new id");
      assert.equal(run([said("talking", { answeredBy: "me-2" })], state).call.confirmed, true);
    }
  });

  test("is back in a talk that it had joined", () => {
    assert.equal(run([said("talking", { answeredBy: "other" })], again("join")).call.how, "join");
  });

  test("does not break into a talk that somebody else has by now, nor into another call", () => {
    assert.equal(run([said("talking", { answeredBy: "other" })], again()).call, null);
    assert.equal(phase(run([said("ringing", { call: "c-2" })], again())), "ringing");
    assert.equal(run([said("ended"), said("ringing", { call: "c-2" })], again()).call.stage, "ringing");
  });
});

describe("the words", () => {
  const media = { video: "on", audio: "on", trouble: "" };

  test("say what the visitor gets", () => {
    assert.equal(mediaWords(say, media), "The visitor sees and hears you.");
    assert.equal(mediaWords(say, { ...media, audio: "off" }), "The visitor sees you. You are muted.");
    assert.match(mediaWords(say, { ...media, trouble: "denied" }), /not allowed/);
    for (const video of ["on", "off", "none"]) for (const audio of ["on", "off", "none"]) assert.notEqual(mediaWords(say, { video, audio, trouble: "" }), "");
    for (const trouble of ["waiting", "insecure", "denied", "missing", "camera-lost"]) assert.notEqual(mediaWords(say, { ...media, trouble }), "");
  });

  test("cover every state and every cause of the door protocol", () => {
    const states = [start(), run([connecting]), armed(), ringing(), talking(), run([down], armed()), run([left()], talking()), run([hangup], talking())];
    for (const state of states) assert.notEqual(statusWords(say, state, media).head, "");
    const causes = ["no-answer", "declined", "hung-up", "peer-gone", "unreached", "visitor", "control", "too-long", "cannot-join", "shutdown"];
    const sentences = new Set(causes.map((cause) => endWords(say, cause)));
    assert.equal(sentences.size, causes.length);
    assert.equal(endWords(say, "something new"), endWords(say, "ended"));
    assert.match(refusedWords(say, "invalid_token"), /key/);
    assert.equal(refusedWords(say, "something new"), refusedWords(say, "other"));
  });

  test("say armed only while a ring would be heard and the screen stays on", () => {
    const head = (ready) => statusWords(say, armed(), media, ready).head;
    assert.match(head({ audible: true, awake: true }), /^Armed/);
    for (const ready of [{ audible: false, awake: true }, { audible: true, awake: false }]) {
      assert.equal(isReady(ready), false);
      assert.doesNotMatch(head(ready), /armed/i);
    }
  });

  test("say why the line is down and what to do", () => {
    for (const kind of ["offline", "unreachable", "dropped", "crowded"]) {
      assert.match(downWords(say, { lineKind: kind, lineSeconds: 4 }), /Trying again in 4 s/);
    }
    assert.match(downWords(say, { lineKind: "dropped", lineSeconds: 0 }), /Trying again\.$/);
  });

  test("say every refusal to open in its own way, and who opened", () => {
    const whys = ["not-wired", "nobody", "not-talking", "wrong", "expired", "locked-out", "open", "resting", "stopping", "no-answer", "unsent"];
    const refused = (why) => openingWords(say, { step: "refused", call: "c-1", why }, "Anna");
    assert.equal(new Set(whys.map(refused)).size, whys.length);
    assert.equal(refused("something new"), refused("other"));
    const opened = { step: "opened", call: "c-1", by: "Anna", forMs: 3000 };
    assert.equal(openingWords(say, opened, "Anna"), "The door is open for 3 s.");
    assert.match(openingWords(say, opened, "Ben"), /^Anna opened/);
    assert.equal(openingWords(say, { step: "idle" }, null), "");
  });

  test("say for how long the page slept", () => {
    assert.match(sleptWords(say, { ms: 110_000, until: "18:45" }), /110 s, until 18:45/);
    assert.match(sleptWords(say, { ms: 14 * 60_000, until: "18:45" }), /14 min/);
  });
});
