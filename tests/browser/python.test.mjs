// A call with the vendor's Python SDK instead of a browser: `metered-realtime[webrtc]` on aiortc.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Door, IMPOLITE, POLITE, callState } from "./door.mjs";
import { DOOR_HERTZ, PHONE_HERTZ, readBars } from "./signs.mjs";
import { until, within } from "./wait.mjs";

const SCRIPT = join(dirname(fileURLToPath(import.meta.url)), "python_call.py");
const PYTHON = process.env.INTERCOMD_PYTHON ?? "python3";
const probe = spawnSync(PYTHON, ["-c", "import metered_realtime, aiortc"], { encoding: "utf8" });
const skip = probe.status === 0 ? false : `${PYTHON} has no metered-realtime[webrtc]: set INTERCOMD_PYTHON to a venv that has 1.0.2`;

for (const [role, doorPeerId] of [["polite", POLITE], ["impolite", IMPOLITE]]) {
  test(`the Python SDK talks with the door on the ${role} side`, { timeout: 120_000, skip }, async (t) => {
    const door = await Door.start({ doorPeerId });
    let stopped = false;
    t.after(async () => stopped || door.stop());
    const call = new PythonCall(door);
    t.after(() => call.kill());

    await until(() => call.said("joined"), "the script's join", 20_000, () => call.output);
    await door.press();
    await until(() => call.said("received"), "picture and sound from the door", 40_000, () => `${call.output}\n${door.log}`);
    await door.until((status) => callState(status) === "talking", "talking, since the script sends media");
    const seen = new Set();
    await until(() => seen.add(door.displayColour()) && seen.has("magenta") && seen.has("green"), "the script's colours on the door's display", 20_000, () => `${[...seen]}\n${door.log}`);
    await until(() => door.speakerTone(PHONE_HERTZ).share > 0.4, "the script's tone in the door's speaker", 20_000, () => JSON.stringify(door.speakerTone(PHONE_HERTZ)));
    await door.hangup();
    await door.untilIdle();

    const report = await call.report();
    assert.ok(report.video_frames >= 20, JSON.stringify(report));
    assert.ok(report.audio_frames >= 50, JSON.stringify(report));
    assert.notEqual(readBars(report.line), null, `not the door's bars: ${JSON.stringify(report.line)}`);
    assert.ok(Math.abs(report.hertz - DOOR_HERTZ) < 12, `the door's tone came as ${report.hertz} Hz`);
    assert.equal(report.door_left, true);
    stopped = true;
    assert.deepEqual(await door.stop(), { code: 0, signal: null });
  });
}

/** The script's process: one JSON object per line, the last one is the report. */
class PythonCall {
  output = "";
  #child;
  #ended;

  constructor(door) {
    this.#child = spawn(PYTHON, [SCRIPT, "--url", door.ws, "--key", door.key, "--channel", door.channel, "--tone", String(PHONE_HERTZ)], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const pipe of [this.#child.stdout, this.#child.stderr]) pipe.on("data", (data) => (this.output += data));
    this.#ended = new Promise((resolve) => this.#child.on("close", resolve));
  }

  #lines() {
    return this.output
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));
  }

  said(event) {
    return this.#lines().some((line) => line.event === event);
  }

  async report() {
    await within(this.#ended, "the script's end after the door left", 20_000);
    const report = this.#lines().find((line) => line.event === "report");
    assert.ok(report, this.output);
    return report;
  }

  kill() {
    this.#child.kill("SIGKILL");
  }
}
