// The doors that are compared, all with the same few verbs: start, press, hang up, stop. Each is what a user would run:
// a daemon, a browser in kiosk mode, a program on the Python SDK, on webrtcbin, or on libdatachannel.

import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { within } from "../browser/wait.mjs";
import { rootWith } from "./meter.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, "../..");
const BIN = resolve(process.env.INTERCOMD_BIN ?? join(ROOT, "target/release/intercomd"));
const PYTHON = resolve(process.env.INTERCOMD_PYTHON ?? join(ROOT, "target/test-python/bin/python"));
/** What the systemd unit sets for the daemon. */
const UNIT = { MALLOC_TRIM_THRESHOLD_: "131072" };
const START_MS = 60_000;
const IDLE_MS = 8_000;
/** Size of what a door shows where the age of the phone's picture is read. */
const EYE = [640, 480];
/** What it shows on where it is not. */
const COUNTED = "videoconvert ! fakesink sync=false";
/** The first port of the latest door that needs some of its own. */
let port = 26_000;

export const BROWSER = {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: false,
  args: [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-device-for-media-stream=fps=30",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
  ],
};

/** A program that hears `press` and `hangup` on its standard input and tells `ready` and `idle`. */
class Program {
  #child;
  #waiting = new Map();
  #trouble = "";
  #ages = [];

  /** @param {Eye} [eye] what looks at its display, if anything does */
  constructor(name, [program, ...words], eye) {
    this.name = name;
    this.words = [program, ...words];
    this.eye = eye;
  }

  async start() {
    const [program, ...words] = this.words;
    await this.eye?.start();
    this.#child = spawn(program, words, { stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stderr.on("data", (data) => (this.#trouble = (this.#trouble + data).slice(-4000)));
    this.exited = new Promise((resolve) => this.#child.once("exit", (code, signal) => resolve(signal ?? code)));
    // A door that has ended takes no more commands; who waits for its answer hears of it.
    this.#child.stdin.on("error", () => {});
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      if (!line.startsWith("{")) return;
      const { event, age } = JSON.parse(line);
      if (event === "age") this.#ages.push(age);
      else this.#waiting.get(event)?.();
    });
    await this.#hears("ready", START_MS);
    return this;
  }

  get root() {
    return this.#child.pid;
  }

  /** How old the phone's pictures were when it showed them, in milliseconds, since this was asked last. */
  async ages() {
    return this.eye ? this.eye.ages() : this.#ages.splice(0);
  }

  #hears(event, ms) {
    const heard = new Promise((resolve) => this.#waiting.set(event, resolve));
    const died = this.exited.then((how) => {
      throw new Error(`${this.name} ended (${how}): ${this.#trouble}`);
    });
    // When it ends later, nobody waits any more.
    died.catch(() => {});
    return within(Promise.race([heard, died]), `${this.name}: ${event}`, ms);
  }

  async press() {
    this.#child.stdin.write("press\n");
  }

  /** A program that does not get through its hang-up is started anew: the next call is a call of its own. */
  async hangup() {
    const idle = this.#hears("idle", IDLE_MS);
    this.#child.stdin.write("hangup\n");
    try {
      await idle;
    } catch (error) {
      console.log(`${error.message}; it is started again`);
      await this.stop();
      await this.start();
    }
  }

  async stop() {
    await this.eye?.stop();
    this.#child.stdin.end();
    const killer = setTimeout(() => this.#child.kill("SIGKILL"), 3_000);
    await this.exited;
    clearTimeout(killer);
  }
}

/** What looks at the display of a door that shows its pictures by GStreamer. */
class Eye extends Program {
  static #count = 0;

  constructor(folder) {
    Eye.#count += 1;
    const path = join(folder, `display-${Eye.#count}`);
    super("the eye", ["/usr/bin/python3", join(HERE, "display.py"), path]);
    const [width, height] = EYE;
    const caps = `video/x-raw,format=GRAY8,width=${width},height=${height}`;
    // Handed on at once, as what is only counted is. Memory of the sink itself, of which it does not come free when a phone changes its
    // size, is not taken.
    this.text = `videoconvert ! videoscale ! ${caps} ! identity drop-allocation=true ! shmsink socket-path=${path} shm-size=${width * height * 16} sync=false async=false wait-for-connection=false`;
  }
}

class Intercomd {
  name = "intercomd";

  /**
   * @param {{size?: number[], seen?: boolean, rules?: string, inside?: string[], env?: Record<string, string>}} wishes
   *   `size`: of the camera's picture; `seen`: the age of what it shows is read; `rules`: lines of the `[call]` table; `inside`: words before the command
   */
  constructor(room, { size = [640, 480], seen = false, rules = "", inside = [], env = {} } = {}) {
    Object.assign(this, { room, inside, env });
    this.folder = mkdtempSync(join(tmpdir(), "intercomd-bench-"));
    this.socket = join(this.folder, "control.sock");
    const path = (name) => join(this.folder, name);
    writeFileSync(path("channel.key"), `${room.key}\n`, { mode: 0o600 });
    chmodSync(path("channel.key"), 0o600);
    const uplink = `[uplink]\nurl = "${room.url}"\nkey_file = "${path("channel.key")}"\n`;
    writeFileSync(path("config.toml"), `channel = "${room.channel}"\nstate_dir = "${this.folder}"\n[lan]\nlisten = "off"\n[call]\n${rules}\n${uplink}`);
    const [width, height] = size;
    this.eye = seen ? new Eye(room.folder) : undefined;
    const camera = `shmsrc socket-path=${room.cameraOf(size).shm} is-live=true do-timestamp=true ! video/x-raw,format=I420,width=${width},height=${height},framerate=30/1,pixel-aspect-ratio=1/1,interlace-mode=progressive`;
    writeFileSync(
      path("board.toml"),
      `name = "bench"
[panel]
kind = "sim"
[camera]
pipeline = "${camera}"
size = [${size}]
rate = 30
[microphone]
pipeline = "audiotestsrc is-live=true freq=440"
echo_cancel = "off"
noise_suppression = false
gain_control = false
[display]
pipeline = "${this.eye?.text ?? COUNTED}"
[speaker]
pipeline = "audioconvert ! fakesink sync=true"
`,
    );
  }

  async start() {
    await this.eye?.start();
    const files = ["--config", join(this.folder, "config.toml"), "--board", join(this.folder, "board.toml"), "--socket", this.socket];
    const [program, ...words] = [...this.inside, BIN, "run", ...files];
    this.child = spawn(program, words, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, ...UNIT, ...this.env } });
    this.log = "";
    this.child.stderr.on("data", (data) => (this.log = (this.log + data).slice(-100_000)));
    this.exited = new Promise((resolve) => this.child.once("exit", resolve));
    const armed = async () => (await this.status()).uplinks[0].state === "connected";
    await untilSoon(armed, "armed at the service", START_MS, () => this.log.slice(-2000));
    return this;
  }

  get root() {
    return this.child.pid;
  }

  ages() {
    return this.eye.ages();
  }

  /** One request on the control socket. */
  ask(request) {
    const answer = new Promise((resolve, reject) => {
      const line = createConnection(this.socket).setEncoding("utf8");
      line.once("error", reject);
      let text = "";
      line.on("data", (more) => {
        text += more;
        if (!text.includes("\n")) return;
        line.end();
        resolve(JSON.parse(text));
      });
      line.write(`${JSON.stringify(request)}\n`);
    });
    return within(answer, `the answer to ${request.do}`, 5_000);
  }

  async status() {
    return (await this.ask({ do: "status" })).status;
  }

  press() {
    return this.ask({ do: "press" });
  }

  /** Where the time of the latest call went. */
  async budget() {
    return (await this.ask({ do: "log", count: 1 })).log[0]?.budget;
  }

  /** Whether the door gives way to these peers, as the SDK's rule has it. */
  async isPolite(phone) {
    return (await this.status()).uplinks[0].peer_id < phone;
  }

  async hangup() {
    await this.ask({ do: "hangup" });
    await untilSoon(async () => (await this.status()).state === "idle", "idle", IDLE_MS);
  }

  async stop() {
    await this.eye?.stop();
    this.child.kill("SIGTERM");
    const killer = setTimeout(() => this.child.kill("SIGKILL"), 6_000);
    await this.exited;
    clearTimeout(killer);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

class Kiosk {
  /** @param {{drawn?: boolean, seen?: boolean}} wishes a camera with the bench's clock in it, and the age of what it shows is read; both cost the page more */
  constructor(room, { drawn, seen } = {}) {
    this.name = "kiosk";
    this.address = `${room.site}kiosk.html?${new URLSearchParams({ channel: room.channel, key: room.key, url: room.url, ...(drawn && { drawn: "1" }), ...(seen && { seen: "1" }) })}`;
  }

  async start() {
    this.folder = mkdtempSync(join(tmpdir(), "intercomd-kiosk-"));
    this.context = await chromium.launchPersistentContext(this.folder, { ...BROWSER, args: [...BROWSER.args, "--kiosk"] });
    this.page = this.context.pages()[0] ?? (await this.context.newPage());
    await this.page.goto(this.address);
    await this.page.waitForFunction(() => window.press);
    this.root = rootWith(this.folder);
    return this;
  }

  ages() {
    return this.page.evaluate(() => window.ages.splice(0));
  }

  async press() {
    // What the page does takes its time; the finger does not wait for it.
    await this.page.evaluate(() => void window.press());
  }

  hangup() {
    return this.page.evaluate(() => window.hangup());
  }

  async stop() {
    await this.context.close();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Looks every 5 ms: what is waited for here is part of a measured start. */
async function untilSoon(look, what, ms, hint = () => "") {
  const deadline = performance.now() + ms;
  for (;;) {
    try {
      if (await look()) return;
    } catch {
      // Its socket is not there yet.
    }
    if (performance.now() > deadline) throw new Error(`${what} did not happen within ${ms} ms; seen: ${hint()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * How each door is made, ours first. Wishes: `size` of the camera's picture, which `python` and `kiosk` do not take; `seen`: the age
 * of what it shows can be asked for.
 *
 * @returns {Record<string, (wishes?: object) => Intercomd | Kiosk | Program>}
 */
export function doorsOf(room) {
  const words = ["--url", room.url, "--key", room.key, "--channel", room.channel, "--camera"];
  /** A door that shows by GStreamer. */
  const shows = (name, program, { size = [640, 480], seen = false } = {}) => {
    const eye = seen ? new Eye(room.folder) : undefined;
    const [width, height] = size.map(String);
    const all = [...program, ...words, room.cameraOf(size).shm, "--width", width, "--height", height];
    return new Program(name, eye ? [...all, "--display", eye.text] : all, eye);
  };
  return {
    intercomd: (wishes) => new Intercomd(room, wishes),
    python: ({ seen } = {}) =>
      new Program("python", [PYTHON, join(HERE, "doors/python_sdk.py"), ...words, room.cameraOf([640, 480]).raw, ...(seen ? ["--ages"] : [])]),
    kiosk: (wishes) => new Kiosk(room, wishes),
    webrtcbin: (wishes) => shows("webrtcbin", ["/usr/bin/python3", join(HERE, "doors/webrtcbin.py")], wishes),
    datachannel: (wishes) => {
      port += 4;
      const door = shows("datachannel", [process.execPath, join(HERE, "doors/datachannel.mjs")], wishes);
      door.words.push("--port", String(port));
      return door;
    },
  };
}

/** What coding alone costs: it hears the same commands, and calls nobody. */
export const floorOf = (room) => new Program("floor", ["/usr/bin/python3", join(HERE, "doors/floor.py"), room.cameraOf([640, 480]).shm]);
