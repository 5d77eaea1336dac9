// A board without a battery clock: the daemon begins in 1970, and its clock jumps by decades when the time is found. The
// program's time of day is made by libfaketime, its stopwatch is the kernel's.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { Door, callState } from "./door.mjs";
import { Phone } from "./phone.mjs";
import { preloadable } from "./preload.mjs";

const TEST_MS = 120_000;
const LIBRARY = ["x86_64", "aarch64"].map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`).find((path) => existsSync(path));
const YEAR_S = 365 * 86_400;

// libfaketime 0.9.10 takes the end of a sleep on the monotonic clock for one on the other, if it is told to leave that alone, and
// sleeps for hours; GStreamer sleeps so when it has less than half a millisecond to wait. This goes before it.
const SLEEP = `
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
  return syscall(SYS_clock_nanosleep, clock, flags, until, left) == 0 ? 0 : errno;
}
`;

describe("a door whose clock was never set", () => {
  let folder;
  let clock;
  let door;
  let phone;
  beforeEach(async () => {
    assert.ok(LIBRARY, "libfaketime is missing: apt install libfaketime");
    folder = mkdtempSync(join(tmpdir(), "intercomd-clock-"));
    clock = join(folder, "clock");
    writeFileSync(clock, "@1970-01-01 00:00:10\n");
    const settings = { LD_PRELOAD: `${preloadable(folder, SLEEP)}:${LIBRARY}`, FAKETIME_TIMESTAMP_FILE: clock, FAKETIME_NO_CACHE: "1", FAKETIME_DONT_FAKE_MONOTONIC: "1", TZ: "UTC" };
    door = await Door.start({ inside: ["env", ...Object.entries(settings).map(([name, value]) => `${name}=${value}`)] });
    phone = await Phone.open();
    await phone.watch(door);
  });
  afterEach(async () => {
    await phone?.close();
    await door?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const talk = async () => {
    await door.press();
    await phone.untilState("ringing");
    await phone.page.click("#answer");
    await door.until((status) => callState(status) === "talking", "talking");
    await phone.untilVisitorSeen("#visitor");
  };
  const hangUp = async () => {
    await phone.page.click("#hangup");
    await door.untilIdle();
    await phone.untilState("armed");
  };

  test("rings and talks in 1970", { timeout: TEST_MS }, async () => {
    await talk();
    await hangUp();
    const [call] = await door.calls();
    assert.ok(call.at < YEAR_S, `the call was at ${call.at}`);
    assert.equal(call.outcome, "hung-up");
  });

  test("talks on when the clock jumps by half a century, keeps what it knows of earlier calls, and rings again", { timeout: TEST_MS }, async () => {
    await talk();
    await hangUp();
    await talk();
    const before = await door.status();
    writeFileSync(clock, "+0\n");
    await phone.untilVisitorSeen("#visitor");
    const after = await door.until(({ media }) => media.frames > before.media.frames + 30, "pictures after the jump");
    assert.equal(after.call.id, before.call.id);
    assert.equal(after.peers[0].generation, before.peers[0].generation, "the same link");
    await hangUp();
    await talk();
    await hangUp();
    const calls = await door.calls();
    assert.deepEqual(calls.map(({ outcome }) => outcome), ["hung-up", "hung-up", "hung-up"]);
    assert.ok(calls[0].at > 50 * YEAR_S && calls[2].at < YEAR_S, JSON.stringify(calls.map(({ at }) => at)));
    assert.deepEqual(phone.errors, []);
  });
});
