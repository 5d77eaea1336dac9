// A real door for the tests: starts the daemon in a folder of its own, with test picture and tone, presses
// its button, and reads what it would show and play. No hardware, nothing beyond 127.0.0.1.

import { execFile, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { DISPLAY, DOOR_CAMERA, DOOR_MICROPHONE, SPEAKER_RATE, clearestTone, readPhoneColour } from "./signs.mjs";
import { until, within } from "./wait.mjs";

const run = promisify(execFile);
const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, "../..");
const BIN = resolve(process.env.INTERCOMD_BIN ?? join(ROOT, "target/debug/intercomd"));
export const WEB_DIR = join(ROOT, "web/dist");
export const CHANNEL = "front-door";

const START_MS = 20_000;
const STOP_MS = 10_000;
const CTL_MS = 5_000;
const NEW_LINE = 10;

/** Id that sorts below every other: the door is always the polite side. */
export const POLITE = "-door";
/** Id that sorts above every other: the door is always the impolite side. */
export const IMPOLITE = "zdoor";

export class Door {
  /**
   * @param {{doorPeerId?: string, rules?: string, service?: {url: string, key?: string, tokenCommand?: string[]}, more?: string,
   *   board?: string, wholeBoard?: string, stateDir?: string, inside?: string[]}} wishes
   *   `rules`: lines for the `[call]` table; `service`: a signalling service beside the door's own hub;
   *   `more`: further tables; `board`: further lines for the board's `[camera]`; `wholeBoard`: a board instead of the one whose
   *   display and speaker can be read; `stateDir`: where it remembers; `inside`: words before the command, such as those that
   *   enter a namespace
   */
  static async start({ doorPeerId = POLITE, rules = "", service, more = "", board = "", wholeBoard, stateDir, inside = [] } = {}) {
    if (!existsSync(BIN)) throw new Error(`${BIN} is missing: build it, or set INTERCOMD_BIN`);
    if (!existsSync(join(WEB_DIR, "index.html"))) execFileSync(process.execPath, [join(ROOT, "web/build.mjs")]);
    const door = new Door();
    door.folder = mkdtempSync(join(tmpdir(), "intercomd-test-"));
    door.socket = join(door.folder, "control.sock");
    door.displayDir = join(door.folder, "display");
    door.speakerFile = join(door.folder, "speaker.raw");
    mkdirSync(door.displayDir);
    const config = join(door.folder, "config.toml");
    const profile = join(door.folder, "board.toml");
    const uplink = service ? uplinkText(door.folder, service) : "";
    writeFileSync(config, configText(stateDir ?? door.folder, doorPeerId, rules) + uplink + more);
    writeFileSync(profile, wholeBoard ?? boardText(door.displayDir, door.speakerFile, board));
    if (service?.key) door.#secrets.push(["the service's key", service.key]);
    door.#spawn([...inside, BIN, "run", "--config", config, "--board", profile, "--socket", door.socket]);
    await door.#ready();
    return door;
  }

  #child = null;
  /** What no log may hold: a name and the secret. */
  #secrets = [];
  #out = "";
  #log = "";
  #exited = null;
  /** Lines of log since the start. */
  logLines = 0;

  #spawn([program, ...words]) {
    this.#child = spawn(program, words, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, INTERCOMD_LOG: process.env.INTERCOMD_LOG ?? "debug", HOME: this.folder },
    });
    this.#child.stdout.on("data", (data) => (this.#out += data));
    this.#child.stderr.on("data", (data) => {
      this.#log = (this.#log + data).slice(-2_000_000);
      for (const byte of data) if (byte === NEW_LINE) this.logLines += 1;
    });
    this.#exited = new Promise((resolve) => this.#child.on("exit", (code, signal) => resolve({ code, signal })));
  }

  async #ready() {
    const line = until(() => /^intercomd ready: /m.test(this.#out), "the ready line", START_MS, () => `stdout: ${this.#out}\nlog: ${this.#log.slice(-4000)}`);
    const died = this.#exited.then(({ code, signal }) => {
      throw new Error(`intercomd ended at its start (code ${code}, signal ${signal})\n${this.#log.slice(-4000)}`);
    });
    await Promise.race([line, died]);
    // The key is in no line that goes into a pipe.
    const { address } = JSON.parse(await this.#ctl("pair", "--json"));
    const [link, port, fragment] = /^https?:\/\/127\.0\.0\.1:(\d+)\/#(\S+)$/.exec(address);
    const words = new URLSearchParams(fragment);
    this.link = link;
    this.port = Number(port);
    this.channel = words.get("channel");
    this.key = words.get("key");
    this.#secrets.push(["the hub's key", this.key]);
    this.ws = `ws://127.0.0.1:${port}`;
  }

  get pid() {
    return this.#child.pid;
  }

  /** All of the daemon's log that is kept. */
  get wholeLog() {
    return this.#log;
  }

  /** The newest part of the daemon's log. */
  get log() {
    return this.#log.slice(-6000);
  }

  press() {
    return this.#ctl("press");
  }

  hangup() {
    return this.#ctl("hangup");
  }

  /**
   * Makes a person known who may open.
   *
   * @returns {Promise<{name: string, link: string, secret: string}>} `link`: ours to this door, with the person in it
   */
  async addPerson(name) {
    const { person } = JSON.parse(await this.#ctl("person", "add", name, "--json"));
    this.#secrets.push([`the secret of ${name}`, person.secret]);
    const rights = new URLSearchParams({ person: person.name, secret: person.secret });
    return { ...person, link: `${this.link}&${rights}` };
  }

  removePerson(name) {
    return this.#ctl("person", "remove", name);
  }

  async status() {
    return JSON.parse(await this.#ctl("status", "--json"));
  }

  /** The calls the door remembers, newest first, as `ctl log --json` tells them. */
  async calls() {
    return JSON.parse(await this.#ctl("log", "--json")).log;
  }

  async #ctl(...words) {
    const [verb, ...flags] = words;
    const { stdout } = await run(BIN, ["ctl", "--socket", this.socket, verb, ...flags], { timeout: CTL_MS });
    return stdout;
  }

  /** Waits until the daemon's status satisfies `wanted`; gives that status. */
  until(wanted, what, ms = 10_000) {
    let last = null;
    return until(
      async () => {
        last = await this.status();
        return wanted(last) ? last : null;
      },
      `the door: ${what}`,
      ms,
      () => `${JSON.stringify(last)}\n${this.log}`,
    );
  }

  /** Waits until nobody is called any more and the camera is off. */
  untilIdle(ms = 15_000) {
    return this.until((status) => callState(status) === "idle" && captureState(status) === "off", "idle with the camera off", ms);
  }

  /** Threads, open descriptors, resident memory and its highest value so far (MiB) of the daemon. */
  usage() {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    return {
      threads: Number(/^Threads:\s+(\d+)/m.exec(status)[1]),
      descriptors: readdirSync(`/proc/${this.pid}/fd`).length,
      rss: Number(/^VmRSS:\s+(\d+)/m.exec(status)[1]) / 1024,
      peak: Number(/^VmHWM:\s+(\d+)/m.exec(status)[1]) / 1024,
    };
  }

  /** Colour of the phone's picture on the door's display now, or null. */
  displayColour() {
    const size = DISPLAY.width * DISPLAY.height * 3;
    for (const { path } of this.framesShown()) {
      // The newest file may be half written, or gone already.
      try {
        const rgb = readFileSync(path);
        if (rgb.length === size) return readPhoneColour(rgb);
      } catch {
        continue;
      }
    }
    return null;
  }

  /** The files of the newest frames on the display, newest first. A new pipeline begins again at 00000. */
  framesShown() {
    const frames = [];
    for (const name of readdirSync(this.displayDir)) {
      const path = join(this.displayDir, name);
      const written = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
      if (written && name.endsWith(".rgb")) frames.push({ path, written });
    }
    return frames.sort((one, other) => other.written - one.written);
  }

  /** How clear the tone is in what the door's speaker played last; see `clearestTone`. */
  speakerTone(hertz) {
    if (!existsSync(this.speakerFile) || statSync(this.speakerFile).size < SPEAKER_RATE) return { share: 0, level: 0 };
    return clearestTone(readFileSync(this.speakerFile), hertz);
  }

  /** Waits until it ends by itself. Gives its exit code and signal. */
  end() {
    return within(this.#exited, "the daemon's own end", STOP_MS);
  }

  /** Ends the daemon as a power cut would. */
  async kill() {
    this.#child.kill("SIGKILL");
    await within(this.#exited, "the daemon's end after SIGKILL", STOP_MS);
  }

  /** Nothing the daemon wrote in its whole life holds a secret or a session description. */
  #assertDiscreet() {
    const written = this.#out + this.#log;
    for (const [what, secret] of this.#secrets) {
      if (written.includes(secret)) throw new Error(`the daemon wrote ${what} down`);
    }
    for (const part of ["a=ice-pwd", "a=ice-ufrag", "a=fingerprint", "m=audio", "m=video"]) {
      if (written.includes(part)) throw new Error(`the daemon wrote a session description down: ${part}`);
    }
  }

  /** Ends the daemon as systemd would. Gives its exit code and signal. */
  async stop() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill("SIGTERM");
    try {
      const end = await within(this.#exited, "the daemon's end after SIGTERM", STOP_MS);
      this.#assertDiscreet();
      return end;
    } catch (error) {
      this.#child.kill("SIGKILL");
      throw new Error(`${error.message}\n${this.log}`);
    } finally {
      if (!process.env.INTERCOMD_KEEP) rmSync(this.folder, { recursive: true, force: true });
    }
  }
}

/** The call's state in a status answer: idle, joining, ringing, talking or ending. */
export function callState(status) {
  return status.state;
}

/** The capture's state in a status answer: off, starting, running, … */
export function captureState(status) {
  return status.media.capture;
}

/** How often the capture pipeline has been built since the daemon started. */
export function pipelinesBuilt(status) {
  return status.media.pipelines_built;
}

function configText(stateDir, doorPeerId, rules) {
  return `channel = "${CHANNEL}"
state_dir = "${stateDir}"

[lan]
listen = "127.0.0.1:0"
web_dir = "${WEB_DIR}"
door_peer_id = "${doorPeerId}"

[call]
${rules}
`;
}

function uplinkText(folder, { url, key, tokenCommand }) {
  if (tokenCommand) return `\n[uplink]\nurl = "${url}"\ntoken_command = ${JSON.stringify(tokenCommand)}\n`;
  const keyFile = join(folder, "channel.key");
  writeFileSync(keyFile, `${key}\n`, { mode: 0o600 });
  return `
[uplink]
url = "${url}"
key_file = "${keyFile}"
`;
}

function boardText(displayDir, speakerFile, camera) {
  const { width, height } = DISPLAY;
  return `name = "browser-test"

[panel]
kind = "sim"

[lamp]
line = "LAMP"

[camera]
pipeline = "${DOOR_CAMERA}"
size = [640, 480]
rate = 15
${camera}
[microphone]
pipeline = "${DOOR_MICROPHONE}"
echo_cancel = "off"
noise_suppression = false
gain_control = false

[display]
pipeline = "videoscale ! videoconvert ! video/x-raw,format=RGB,width=${width},height=${height},pixel-aspect-ratio=1/1 ! multifilesink location=${displayDir}/%05d.rgb max-files=8"

[speaker]
pipeline = "audioconvert ! audioresample ! audio/x-raw,format=S16LE,rate=${SPEAKER_RATE},channels=1 ! filesink location=${speakerFile} buffer-mode=unbuffered"
`;
}
