// All that a test of the hardware lab needs, set up and taken down: the network, the guest, the door in it, the world
// around the door, a phone.

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { callState, captureState } from "../browser/door.mjs";
import { readBars, readPhoneColour } from "../browser/signs.mjs";
import { until } from "../browser/wait.mjs";
import { Door, openPhone } from "./door.mjs";
import { Guest, PATIENCE } from "./guest.mjs";
import { Network } from "./network.mjs";
import { World } from "./world.mjs";

const LOGS = resolve(dirname(fileURLToPath(import.meta.url)), "../../target/lab-logs");
const TEST_MS = 120_000 * PATIENCE;
/** For what has to come over the network and through codecs first. */
export const MEDIA_MS = 30_000 * PATIENCE;
/** What vivid's camera shows, in cyclic order. */
export const CAMERA_BARS = ["white", "yellow", "cyan", "green", "magenta", "red", "blue", "black"];

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]]) process.once(signal, () => process.exit(code));

export class Scene {
  #phones = [];

  static async start() {
    const scene = new Scene();
    try {
      scene.network = Network.make();
      process.once("exit", () => scene.network.destroy());
      scene.guest = await Guest.start(scene.network);
      scene.world = new World(scene.guest);
    } catch (error) {
      await scene.stop();
      throw error;
    }
    return scene;
  }

  /** Installs the door; with `start: false` nobody starts it yet. */
  async install({ start = true, ...wishes } = {}) {
    this.door = await Door.install(this.guest, wishes);
    if (start) await this.door.start();
  }

  async phone() {
    const phone = await openPhone(this.network, this.guest.folder);
    this.#phones.push(phone);
    return phone;
  }

  /** A phone on the answer page that waits for a ring. */
  async watchingPhone() {
    const phone = await this.phone();
    await phone.watch(await this.door.address());
    return phone;
  }

  /** A press is answered by this phone; the talk goes on when it returns. */
  async talk(phone) {
    await this.world.press();
    await phone.untilState("ringing", MEDIA_MS);
    await phone.page.click("#answer");
    await phone.untilState("talking", MEDIA_MS);
    await this.door.until((status) => callState(status) === "talking", "talking");
  }

  async hangUp(phone) {
    await phone.page.click("#hangup");
    await this.door.untilIdle();
  }

  untilVisitorSeen(phone, selector = "#visitor") {
    return phone.untilVisitorSeen(selector, MEDIA_MS, CAMERA_BARS);
  }

  /** The phone shows a picture that is not the camera's and does not move, while pictures keep coming. */
  async untilNoticeSeen(phone, selector = "#visitor") {
    const sent = async () => (await this.door.status()).peers[0].frames_sent;
    let last = null;
    await until(
      async () => {
        const [before, count] = [await phone.line(selector), await sent()];
        await until(async () => (await sent()) > count, "further pictures", MEDIA_MS);
        const now = await phone.line(selector);
        last = now;
        return readBars(now, CAMERA_BARS) === null && isPicture(now) && isSame(before, now);
      },
      `a still notice in ${selector}`,
      MEDIA_MS,
      async () => `${JSON.stringify(last?.filter((_, x) => x % 8 === 0))}\n${await this.door.log()}`,
    );
  }

  /** The phone's picture is on the door's screen, changing. */
  async untilScreenShowsThePhone() {
    const seen = new Set();
    await until(
      async () => {
        const { rgb, ...size } = await this.guest.screen();
        const colour = readPhoneColour(rgb, size);
        if (colour) seen.add(colour);
        return seen.size === 2;
      },
      "both colours of the phone's picture on the door's screen",
      MEDIA_MS,
      async () => `${[...seen]}\n${await this.door.log()}`,
    );
  }

  /** Everything of the door is at rest. */
  async assertIdle() {
    const status = await this.door.status();
    assert.equal(callState(status), "idle");
    assert.equal(captureState(status), "off");
    await until(async () => (await this.world.cameraUsers()) === "", "a camera that nobody has open", MEDIA_MS, () => this.world.cameraUsers());
  }

  /** Writes down everything known, for the one who looks for the cause. */
  async keep(name, error) {
    mkdirSync(LOGS, { recursive: true });
    const file = join(LOGS, `${name.replace(/\W+/g, "-").slice(0, 80)}.log`);
    const ask = (script) => this.guest.say(script).catch(({ message }) => message);
    const parts = {
      error: error.stack,
      pages: this.#phones.map(({ errors }) => errors.join("\n")).join("\n"),
      status: await ask("intercomd ctl status --json"),
      journal: await ask("journalctl -b -o short-monotonic --no-pager | tail -n 400"),
      descriptors: await ask("ls -l /proc/$(pidof intercomd)/fd"),
      processes: await ask("top -H -b -n 1 -o TIME+ | head -n 40"),
      console: this.guest.console,
    };
    writeFileSync(file, Object.entries(parts).map(([part, text]) => `==== ${part}\n${text}\n`).join(""));
    const shot = await this.guest.screen().catch(() => null);
    if (shot) writeFileSync(`${file}.ppm`, Buffer.concat([Buffer.from(`P6\n${shot.width} ${shot.height}\n255\n`), shot.rgb]));
    return file;
  }

  async stop() {
    const wrong = [];
    for (const step of [...this.#phones.map((phone) => () => phone.close()), () => this.guest?.stop(), () => this.network?.destroy()]) {
      await Promise.resolve().then(step).catch((error) => wrong.push(error));
    }
    if (wrong.length) throw wrong[0];
  }
}

/** Whether anything at all is on this line of pixels. */
function isPicture(line) {
  return line.some((pixel) => pixel.some((level) => level > 24));
}

/** Whether two lines of pixels are alike but for what coding does to them. */
function isSame(one, other) {
  return one.every((pixel, x) => pixel.every((level, c) => Math.abs(level - other[x][c]) < 16));
}

/** A test in a machine of its own. */
export function scene(name, options, run) {
  test(name, { timeout: TEST_MS, ...options }, async (t) => {
    const scene = await Scene.start();
    try {
      await told(scene, name, () => run(scene, t));
    } finally {
      await scene.stop();
    }
  });
}

/**
 * Tests that share a machine, in order: `step(name, options, run)` is one of them.
 *
 * @param {(scene: Scene) => Promise<void>} prepare
 * @param {(step: typeof scene) => void} steps
 */
export function shared(name, prepare, steps) {
  describe(name, { concurrency: 1 }, () => {
    let scene;
    before(
      async () => {
        scene = await Scene.start();
        await told(scene, name, () => prepare(scene));
      },
      { timeout: TEST_MS },
    );
    after(() => scene?.stop(), { timeout: TEST_MS });
    steps((name, options, run) => test(name, { timeout: TEST_MS, ...options }, (t) => told(scene, name, () => run(scene, t))));
  });
}

/** A failure with the file in which all that is known of it was written down. */
async function told(scene, name, run) {
  try {
    await run();
  } catch (error) {
    error.message += `\n(${await scene.keep(name, error)})`;
    throw error;
  }
}
