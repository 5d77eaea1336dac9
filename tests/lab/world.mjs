// The far end of every device of the door: the finger on the button, what hangs on the relay, the visitor's voice and
// ear, the camera's plug.

import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { clearestTone, writeBeeps, DOOR_HERTZ } from "../browser/signs.mjs";
import { until } from "../browser/wait.mjs";
import { PATIENCE } from "./guest.mjs";

export const BUTTON = 17;
export const RELAY = 27;
export const LAMP = 22;
export const CHIME = 23;
/** Node of the camera that is always the same. */
export const CAMERA = "/dev/v4l/by-path/platform-vivid.0-video-index0";
/** What the room is recorded with: the card's own rate, two channels. */
const EAR_RATE = 48_000;
/** Of one moment: two channels of two bytes. */
const EAR_BYTES = 4;
/** How much of the newest sound is listened to, in seconds. */
const EAR_SECONDS = 3;
const CLEAR = 0.4;
const LOUD = 0.002;
const WAIT_MS = 20_000 * PATIENCE;

export class World {
  constructor(guest) {
    this.guest = guest;
  }

  /** Puts the finger on the button. */
  hold() {
    return this.guest.run(`echo pull-down >/run/gpio/sim_gpio${BUTTON}/pull`);
  }

  letGo() {
    return this.guest.run(`echo pull-up >/run/gpio/sim_gpio${BUTTON}/pull`);
  }

  /** A press of an ordinary finger. */
  press() {
    const pull = `/run/gpio/sim_gpio${BUTTON}/pull`;
    return this.guest.run(`echo pull-down >${pull}; sleep 0.3; echo pull-up >${pull}`);
  }

  /** Where a line goes, `up` or `down`, when nobody drives it. One that is driven does not care. */
  pull(line, way) {
    return this.guest.run(`echo pull-${way} >/run/gpio/sim_gpio${line}/pull`);
  }

  /** Begins to write down what happens on these lines; see `edges`. */
  async watchLines(...lines) {
    await this.guest.start("edges", `exec lab-edges ${lines.join(" ")} >/share/edges`);
    await until(() => lines.every((line) => this.edges(line).length > 0), "the first levels of the lines", WAIT_MS);
  }

  /** What happened on a line since `watchLines`: seconds of the guest's clock, and levels. The first is how it began. */
  edges(line) {
    const file = this.guest.hostPath("edges");
    if (!existsSync(file)) return [];
    const rows = readFileSync(file, "utf8").split("\n").slice(0, -1).map((row) => row.split(" ").map(Number));
    return rows.filter(([, number]) => number === line).map(([at, , level]) => ({ at, level }));
  }

  /** The levels a line had, in order. */
  levels(line) {
    return this.edges(line).map(({ level }) => level).join("");
  }

  untilLevels(line, wanted, what) {
    return until(() => wanted.test(this.levels(line)), what, WAIT_MS, () => this.levels(line));
  }

  /** The visitor makes a sound that goes on. */
  speak(hertz = DOOR_HERTZ) {
    writeBeeps(this.guest.hostPath("voice.wav"), hertz);
    return this.guest.start("voice", "cp /share/voice.wav /run/; while :; do aplay -q -D plughw:CARD=panel,DEV=1 /run/voice.wav || sleep 1; done");
  }

  /** The visitor listens from now on; see `hears`. */
  listen() {
    return this.guest.start("ear", `exec arecord -q -D hw:CARD=panel,DEV=1 -f S16_LE -c 2 -r ${EAR_RATE} -t raw /share/ear`);
  }

  /** The visitor neither speaks nor listens any more. */
  async silence() {
    await this.guest.end("voice");
    await this.guest.end("ear");
  }

  /** How many bytes the visitor heard so far. */
  heard() {
    const file = this.guest.hostPath("ear");
    return existsSync(file) ? readFileSync(file).length : 0;
  }

  /** How clear a tone is in what the visitor heard last, or since a number of bytes. */
  hears(hertz, since = 0) {
    const raw = this.#ear(since);
    const mono = Buffer.alloc(Math.floor(raw.length / EAR_BYTES) * 2);
    for (let n = 0; n < mono.length / 2; n += 1) raw.copy(mono, n * 2, n * EAR_BYTES, n * EAR_BYTES + 2);
    return clearestTone(mono, hertz, EAR_RATE);
  }

  untilHears(hertz, what, since = 0) {
    let last;
    return until(
      () => {
        last = this.hears(hertz, since);
        return last.share > CLEAR && last.level > LOUD;
      },
      what,
      WAIT_MS,
      () => last,
    );
  }

  #ear(since) {
    const file = this.guest.hostPath("ear");
    if (!existsSync(file)) return Buffer.alloc(0);
    const descriptor = openSync(file, "r");
    try {
      const size = Math.floor(fstatSync(descriptor).size / EAR_BYTES) * EAR_BYTES;
      const from = Math.max(since - (since % EAR_BYTES), size - EAR_RATE * EAR_BYTES * EAR_SECONDS, 0);
      const raw = Buffer.alloc(Math.max(0, size - from));
      readSync(descriptor, raw, 0, raw.length, from);
      return raw;
    } finally {
      closeSync(descriptor);
    }
  }

  /** Makes the camera show wandering colour bars without words on them. */
  showBars() {
    return this.guest.run(`v4l2-ctl -d ${CAMERA} -c test_pattern=1,horizontal_movement=4,osd_text_mode=2`);
  }

  /** Pulls the camera's plug; its node is gone. */
  unplugCamera() {
    return this.guest.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind");
  }

  plugCamera() {
    return this.guest.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/bind; udevadm settle");
  }

  /** Programs that have the camera open. */
  cameraUsers() {
    return this.guest.say(`find /proc/[0-9]*/fd -lname '/dev/video*' 2>/dev/null | cut -d/ -f3 | sort -u | xargs -r -I{} cat /proc/{}/comm`);
  }
}
