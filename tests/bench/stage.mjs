// Where doors are measured: a service, a camera they share, and a browser whose pages are the phones.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { Door, WEB_DIR } from "../browser/door.mjs";
import { within } from "../browser/wait.mjs";
import { BROWSER, doorsOf } from "./doors.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const PICTURE_MS = 12_000;
const LEAVE_MS = 5_000;
/** Between two calls of one door, so that nothing of the one is left for the other. */
const PAUSE_MS = 300;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Serves the pages. */
async function serve() {
  const files = {
    "/phone.html": [join(HERE, "phone.html"), "text/html"],
    "/kiosk.html": [join(HERE, "doors/kiosk.html"), "text/html"],
    "/phone.mjs": [join(HERE, "phone.mjs"), "text/javascript"],
    "/kiosk.mjs": [join(HERE, "doors/kiosk.mjs"), "text/javascript"],
    "/drawn.mjs": [join(HERE, "drawn.mjs"), "text/javascript"],
    "/timecode.mjs": [join(HERE, "timecode.mjs"), "text/javascript"],
    "/sdk.mjs": [join(WEB_DIR, "vendor/metered-realtime.mjs"), "text/javascript"],
  };
  const server = createServer((request, response) => {
    const [file, type] = files[new URL(request.url, "http://x").pathname] ?? [];
    if (!file) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": type }).end(readFileSync(file));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** A camera that all doors share. */
async function openCamera(folder, size) {
  const path = (kind) => join(folder, `camera-${size.join("x")}.${kind}`);
  const camera = { shm: path("shm"), raw: path("raw") };
  const words = [join(HERE, "camera.py"), "--shm", camera.shm, "--raw", camera.raw, "--size", size.join("x")];
  camera.process = spawn("/usr/bin/python3", words, { stdio: ["pipe", "pipe", "inherit"] });
  const ready = new Promise((resolve) => createInterface({ input: camera.process.stdout }).once("line", resolve));
  await within(ready, "the camera", 30_000);
  return camera;
}

/** The phones: pages of one browser. */
export class House {
  constructor(browser, room) {
    Object.assign(this, { browser, room });
  }

  async phone(wishes) {
    const words = { channel: this.room.channel, key: this.room.key, url: this.room.url, ...wishes };
    const page = await this.browser.newPage();
    await page.goto(`${this.room.site}phone.html?${new URLSearchParams(words)}`);
    await page.waitForFunction(() => window.bench?.own);
    return page;
  }
}

/** A press; what `during` does in the call; the end. Gives the time to the first picture, or null if there was none. */
export async function call(door, phone, during = async () => {}) {
  await phone.evaluate(() => window.bench.clear());
  const pressed = Date.now();
  await door.press();
  let first = null;
  try {
    const seen = await phone.waitForFunction(() => window.bench.first, null, { timeout: PICTURE_MS, polling: 20 });
    first = (await seen.jsonValue()).at - pressed;
    await during();
  } catch (error) {
    console.log(`${door.name}: ${error.message.split("\n")[0]}`);
  }
  await door.hangup();
  await phone.waitForFunction(() => window.bench.left > 0, null, { timeout: LEAVE_MS, polling: 50 }).catch(() => {});
  await pause(PAUSE_MS);
  return first;
}

/** All of it. */
export class Stage {
  running = [];
  #cameras = new Map();

  static async open() {
    const stage = new Stage();
    stage.folder = mkdtempSync(join(tmpdir(), "intercomd-bench-"));
    stage.service = await Door.start();
    stage.server = await serve();
    await stage.camera([640, 480]);
    stage.browser = await chromium.launch(BROWSER);
    const { channel, key, ws: url } = stage.service;
    const cameraOf = (size) => stage.#cameras.get(size.join("x"));
    stage.room = { channel, key, url, folder: stage.folder, cameraOf, site: `http://127.0.0.1:${stage.server.address().port}/` };
    stage.house = new House(stage.browser, stage.room);
    return stage;
  }

  /** Opens a camera of this size, before a door can be made for it. */
  async camera(size) {
    const name = size.join("x");
    if (!this.#cameras.has(name)) this.#cameras.set(name, await openCamera(this.folder, size));
  }

  /** What makes each door that is wanted, by its name. */
  makers(wanted) {
    return Object.fromEntries(Object.entries(doorsOf(this.room)).filter(([name]) => wanted?.includes(name) ?? true));
  }

  /** Starts one of each with these wishes; those that cannot run here are left out of `makers` as well. */
  async start(makers, wishes) {
    const doors = [];
    for (const [name, make] of Object.entries(makers)) {
      try {
        const door = await make(wishes).start();
        doors.push(door);
        this.running.push(door);
      } catch (error) {
        console.log(`${name} is left out: ${error.message}`);
        delete makers[name];
      }
    }
    return doors;
  }

  /** Stops some that are not wanted any more. */
  async end(doors) {
    for (const door of doors) {
      this.running.splice(this.running.indexOf(door), 1);
      await door.stop();
    }
  }

  async close() {
    for (const door of this.running) await door.stop().catch((error) => console.log(`${door.name}: ${error.message}`));
    await this.browser.close();
    for (const camera of this.#cameras.values()) camera.process.stdin.end();
    this.server.close();
    this.server.closeAllConnections();
    await this.service.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
