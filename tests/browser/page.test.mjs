// The answer page's own rules, without a browser: links, the state of the call, and its words.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { adrift, next, phase, readNotice, readSupply, start } from "../../web/call.js";
import { readLink } from "../../web/config.js";
import { endWords, mediaWords, refusedWords, statusWords } from "../../web/words.js";

const run = (events, from = start()) => events.reduce(next, from);
const up = (own = "me-1") => ({ type: "line", line: "up", own });
const connecting = { type: "line", line: "connecting" };
const down = { type: "line", line: "down", text: "gone" };
const said = (stage, more = {}, from = "door") => ({
  type: "notice",
  from,
  notice: { call: "c-1", stage, answeredBy: null, cause: null, ...more },
});
const left = (from = "door") => ({ type: "peer-left", from });
const answer = { type: "answer" };
const hangup = { type: "hangup" };
const armed = () => run([connecting, up()]);
const ringing = () => run([said("ringing")], armed());
const talking = () => run([answer, said("talking", { answeredBy: "me-1" })], ringing());

describe("the link", () => {
  test("names channel and key; the rest has defaults", () => {
    const link = readLink("#channel=front-door&key=pk%2B1", "https://door.local:8443");
    assert.deepEqual(link, { ok: true, channel: "front-door", key: "pk+1", url: "wss://door.local:8443", name: "front-door" });
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

describe("notices of the door", () => {
  test("are read in version 1 only, and everything else is ignored", () => {
    const good = { intercomd: 1, type: "call", call: "c-17-3", stage: "ended", answered_by: "x", cause: "no-answer" };
    assert.deepEqual(readNotice(good), { call: "c-17-3", stage: "ended", answeredBy: "x", cause: "no-answer" });
    for (const bad of [null, "call", [], {}, { ...good, intercomd: 2 }, { ...good, type: "news" }, { ...good, stage: "lost" }]) {
      assert.equal(readNotice(bad), null);
    }
  });
});

describe("how much of the picture the door sends", () => {
  const supply = (supply, from = "door") => ({ type: "supply", from, supply });

  test("is read in version 1 only, and unknown modes are ignored", () => {
    assert.equal(readSupply({ intercomd: 1, type: "full" }), "waiting");
    assert.equal(readSupply({ intercomd: 1, type: "video", mode: "paused" }), "paused");
    for (const bad of [null, "full", {}, { intercomd: 2, type: "full" }, { intercomd: 1, type: "video", mode: "blue" }]) {
      assert.equal(readSupply(bad), null);
    }
  });

  test("is told to the person, and taken back when all is well", () => {
    const media = { video: "on", audio: "on", words: "" };
    const slow = run([supply("paused")], talking());
    assert.match(statusWords(slow, media).detail, /sound only/);
    assert.match(statusWords(run([supply("full")], slow), media).detail, /sees you/);
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
    assert.equal(state.busy, true);
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

describe("the words", () => {
  const media = { video: "on", audio: "on", words: "" };

  test("say what the visitor gets", () => {
    assert.equal(mediaWords(media), "The visitor sees you and hears you.");
    assert.equal(mediaWords({ ...media, audio: "off" }), "The visitor sees you and does not hear you (muted).");
    assert.equal(mediaWords({ ...media, words: "No camera found." }), "No camera found.");
  });

  test("cover every state and every cause of the door protocol", () => {
    const states = [start(), run([connecting]), armed(), ringing(), talking(), run([down], armed()), run([left()], talking()), run([hangup], talking())];
    for (const state of states) assert.notEqual(statusWords(state, media).head, "");
    const causes = ["no-answer", "declined", "hung-up", "peer-gone", "visitor", "control", "too-long", "cannot-join", "shutdown"];
    const sentences = new Set(causes.map(endWords));
    assert.equal(sentences.size, causes.length);
    assert.equal(endWords("something new"), endWords("ended"));
    assert.match(refusedWords("invalid_token"), /key/);
  });
});
