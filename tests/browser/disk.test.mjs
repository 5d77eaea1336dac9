// A card that hangs: the state directory's file system takes no more writes, as a worn card does for seconds or for good.
// The kernel's own freeze makes it; that needs root.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { Door, callState } from "./door.mjs";
import { Phone } from "./phone.mjs";
import { until } from "./wait.mjs";

const TEST_MS = 120_000;
const skip = process.getuid() === 0 ? false : "freezing a file system needs root";
const run = (program, ...words) => execFileSync(program, words, { stdio: "pipe", timeout: 20_000 });

describe("a door whose card hangs", { skip }, () => {
  let folder;
  let card;
  let frozen = false;
  let door;
  let phone;
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "intercomd-card-"));
    card = join(folder, "card");
    mkdirSync(card);
    const image = join(folder, "image");
    run("truncate", "-s", "16M", image);
    run("mkfs.ext4", "-q", image);
    run("mount", "-o", "loop", image, card);
    door = await Door.start({ stateDir: card });
    phone = await Phone.open();
    await phone.watch(door);
  });
  afterEach(async () => {
    thaw();
    await phone?.close();
    await door?.stop();
    run("umount", card);
    rmSync(folder, { recursive: true, force: true });
  });

  const freeze = () => {
    run("fsfreeze", "-f", card);
    frozen = true;
  };
  const thaw = () => {
    if (frozen) run("fsfreeze", "-u", card);
    frozen = false;
  };
  const kept = () => JSON.parse(readFileSync(join(card, "calls.json"))).calls;

  test("rings and talks as ever, and writes down what happened when the card goes on", { timeout: TEST_MS }, async () => {
    freeze();
    for (let call = 1; call <= 2; call += 1) {
      await door.press();
      await phone.untilState("ringing");
      await phone.page.click("#answer");
      await phone.untilVisitorSeen("#visitor");
      const status = await door.until((now) => callState(now) === "talking", "talking");
      assert.equal(status.counters.calls, call);
      await phone.page.click("#hangup");
      await door.untilIdle();
      await phone.untilState("armed");
    }
    assert.equal((await door.calls()).length, 2, "the log is told from memory meanwhile");
    thaw();
    await until(() => kept().length === 2, "both calls on the card", 15_000, () => readFileSync(join(card, "calls.json"), "utf8"));
  });
});
