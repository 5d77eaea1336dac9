// Where the time of a call goes: the real daemon, its own hub and real Chromium. Every stage has its time, none
// before the one it needs; how long each takes is no matter here.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Door } from "./door.mjs";
import { Phone } from "./phone.mjs";

const TEST_MS = 120_000;
const STAGES = ["described_ms", "ice_ms", "dtls_ms", "rtp_ms", "keyframe_ms", "shown_ms"];

/** The budget has every stage of its first phone, in order, from the press on. */
function isWhole(budget) {
  const times = [budget.entered_ms, ...STAGES.map((stage) => budget.phones[0][stage])];
  for (const time of times) assert.ok(Number.isInteger(time) && time >= 0, JSON.stringify(budget));
  assert.deepEqual(times, [...times].sort((one, other) => one - other), JSON.stringify(budget));
}

describe("the budget of a call", () => {
  let door;
  let phone;
  before(async () => {
    door = await Door.start();
    phone = await Phone.open();
    await phone.watch(door);
  });
  after(async () => {
    await phone?.close();
    await door?.stop();
  });

  test("has every stage in order in the status, in the log of calls and in one line of the journal", { timeout: TEST_MS }, async () => {
    assert.equal((await door.status()).call, null);
    await door.press();
    await phone.untilVisitorSeen("#visitor");
    const { call } = await door.until((status) => status.call?.budget?.phones[0]?.shown_ms != null, "the page's word that the picture is shown");
    isWhole(call.budget);
    assert.equal(call.budget.phones[0].uplink, "lan");

    await door.hangup();
    await door.untilIdle();
    const [entry] = await door.calls();
    assert.equal(entry.call, call.id);
    assert.deepEqual(entry.budget, call.budget);

    const lines = door.wholeLog.split("\n").filter((line) => line.includes("entered_ms="));
    assert.equal(lines.length, 1, "one line for each call");
    assert.match(lines[0], /INFO/);
    assert.ok(lines[0].includes(call.id), lines[0]);
    for (const [name, time] of [["entered_ms", call.budget.entered_ms], ...STAGES.map((stage) => [stage, call.budget.phones[0][stage]])]) {
      assert.ok(lines[0].includes(` ${name}=${time} `), `${name} in ${lines[0]}`);
    }
    assert.match(lines[0], / first=lan\/\S+ phones=1$/);
    const records = door.wholeLog.split("\n").flatMap((line) => /\{"call":.*\}$/.exec(line) ?? []);
    assert.deepEqual(records.map((record) => JSON.parse(record)), [entry], "and all of it as one line of JSON");
  });

  test("of a call that nobody shows tells what was reached and leaves the rest open", { timeout: TEST_MS }, async () => {
    await phone.page.goto("about:blank");
    await door.until((status) => status.peers.length === 0, "nobody there");
    await door.press();
    await door.until((status) => status.state === "ringing", "ringing");
    await door.hangup();
    await door.untilIdle();
    const [{ budget }] = await door.calls();
    assert.ok(Number.isInteger(budget.entered_ms));
    assert.deepEqual(budget.phones, []);
  });
});
