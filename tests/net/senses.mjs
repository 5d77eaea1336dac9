// When pictures and sound move, at both ends: the moments are read off what is shown and played, not off what
// the programs say of themselves.

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { DOOR_HERTZ, PHONE_HERTZ, SPEAKER_RATE, toneShare } from "../browser/signs.mjs";

const LOOK_DOOR_MS = 50;
const LOOK_PHONE_MS = 150;
/** A longer silence between two moments is a stall. The phone's tone is a beep each half second. */
export const STALL_MS = { phonePicture: 800, phoneSound: 800, doorPicture: 800, doorSound: 1_500 };
/** A shorter gap is no interruption at all: 15 pictures a second, sound looked at each 50 ms, beeps 0.18 s apart. */
const GAP_MS = { phonePicture: 250, phoneSound: 250, doorPicture: 250, doorSound: 500 };
/** Media counts as back when it has gone on for so long. */
export const CALM_MS = 2_500;
/** Moments older than that are forgotten. */
const KEEP_MS = 300_000;
/** How much of a piece of sound must be the tone; the rest is coding noise and echo cancelling. */
const CLEAR = 0.4;
const LOUD = 0.002;
const PIECE = SPEAKER_RATE / 10;

export class Senses {
  #stopped = false;
  #moments = { phonePicture: [], phoneSound: [], doorPicture: [], doorSound: [] };
  #tasks = [];

  /** To be called before the phone opens its page. */
  static prepare(phone) {
    return phone.page.addInitScript(watch, DOOR_HERTZ);
  }

  /** Begins to look at a door and a phone. */
  constructor(door, phone) {
    this.#tasks = [this.#again(LOOK_DOOR_MS, doorPicture(door, this.#moments.doorPicture)), this.#again(LOOK_DOOR_MS, doorSound(door, this.#moments.doorSound)), this.#again(LOOK_PHONE_MS, phoneBoth(phone, this.#moments))];
  }

  async stop() {
    this.#stopped = true;
    await Promise.allSettled(this.#tasks);
  }

  async #again(pause, look) {
    while (!this.#stopped) {
      // A page that is frozen, reloaded or closed has nothing to tell.
      await Promise.resolve().then(look).catch(() => {});
      for (const list of Object.values(this.#moments)) while (list[0] < Date.now() - KEEP_MS) list.shift();
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  /** When a sense last noticed something, in milliseconds since 1970. */
  last(sense) {
    return this.#moments[sense].at(-1) ?? 0;
  }

  /** Whether a sense has gone on without a stall for `CALM_MS`. */
  flows(sense, now = Date.now()) {
    const list = this.#moments[sense];
    if (!list.length || now - list.at(-1) > STALL_MS[sense]) return false;
    const from = now - CALM_MS;
    let after = list.at(-1);
    for (let n = list.length - 2; n >= 0; n -= 1) {
      if (after - list[n] > STALL_MS[sense]) return after <= from;
      if (list[n] <= from) return true;
      after = list[n];
    }
    return after <= from;
  }

  /**
   * When the longest gap of a sense ended, counted from `since`; 0 if there was none worth the name after it, null
   * if the sense never noticed anything.
   */
  resumed(sense, since) {
    const list = this.#moments[sense];
    if (!list.length) return null;
    let [longest, end] = [GAP_MS[sense], since];
    for (let n = list.length - 1; n >= 0 && list[n] > since; n -= 1) {
      const gap = list[n] - (list[n - 1] ?? since);
      if (gap > longest) [longest, end] = [gap, list[n]];
    }
    return end - since;
  }

  /** When a sense noticed something first after `since`, counted from it; null if never. */
  first(sense, since) {
    const moment = this.#moments[sense].find((moment) => moment > since);
    return moment === undefined ? null : moment - since;
  }

  /** Whether a sense has stalled since then, for `ms` at least. */
  stalled(sense, since, ms = STALL_MS[sense]) {
    const list = this.#moments[sense].filter((moment) => moment > since);
    return list.some((moment, n) => moment - (list[n - 1] ?? since) > ms);
  }

  get senses() {
    return Object.keys(this.#moments);
  }

  /** For the report of a failure: how long ago each sense noticed something. */
  tell() {
    return this.senses.map((sense) => `${sense} ${this.last(sense) ? `${Date.now() - this.last(sense)} ms ago` : "never"}`).join(", ");
  }
}

/** Runs in the page: notes when a picture is shown and when the door's tone is heard. */
function watch(hertz) {
  const seen = { phonePicture: [], phoneSound: [] };
  window.takeSeen = () => {
    const taken = { phonePicture: seen.phonePicture.splice(0), phoneSound: seen.phoneSound.splice(0) };
    return taken;
  };
  window.connections = [];
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(...settings) {
      super(...settings);
      window.connections.push(this);
    }
  };
  addEventListener("DOMContentLoaded", () => {
    const video = document.querySelector("#theirs");
    const shown = () => {
      seen.phonePicture.push(Date.now());
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
    let ear;
    let track;
    let analyser;
    let bins;
    window.tellEar = () => `ear ${ear?.state} at ${ear?.currentTime.toFixed(1)} s, track ${track?.readyState}${track?.muted ? " muted" : ""}, video at ${video.currentTime.toFixed(1)} s${video.paused ? " paused" : ""}`;
    setInterval(() => {
      // A new link may bring a new stream, or a new track in the stream that is there.
      const present = video.srcObject?.getAudioTracks().find(({ readyState }) => readyState === "live");
      if (present && present !== track) {
        track = present;
        ear ??= new AudioContext();
        analyser = ear.createAnalyser();
        analyser.fftSize = 2048;
        analyser.smoothingTimeConstant = 0;
        bins = new Float32Array(analyser.frequencyBinCount);
        ear.createMediaStreamSource(new MediaStream([track])).connect(analyser);
      }
      if (!analyser) return;
      // Chromium puts it to sleep when its page did not run for long.
      if (ear.state !== "running") ear.resume();
      analyser.getFloatFrequencyData(bins);
      let top = 1;
      for (let n = 2; n < bins.length; n += 1) if (bins[n] > bins[top]) top = n;
      const width = ear.sampleRate / analyser.fftSize;
      if (bins[top] > -60 && Math.abs(top * width - hertz) < 1.5 * width) seen.phoneSound.push(Date.now());
    }, 50);
  });
}

function phoneBoth(phone, moments) {
  return async () => {
    const seen = await phone.page.evaluate(() => window.takeSeen?.());
    for (const [sense, list] of Object.entries(seen ?? {})) moments[sense].push(...list);
  };
}

/** A frame on the display that was not there before. */
function doorPicture(door, moments) {
  let newest = 0;
  return () => {
    const frames = door.framesShown().filter(({ written }) => written > newest);
    for (const { written } of frames.reverse()) moments.push(Math.round(written));
    newest = frames.at(-1)?.written ?? newest;
  };
}

/** A piece of new sound in the speaker that is the phone's tone. */
function doorSound(door, moments) {
  let at = 0;
  return () => {
    let file;
    try {
      file = openSync(door.speakerFile, "r");
    } catch {
      return;
    }
    try {
      const { size } = fstatSync(file);
      // A new pipeline begins the file again.
      if (size < at) at = 0;
      // What was not read in time is not news.
      at = Math.max(at, size - (size % 2) - 10 * PIECE * 2);
      while (size - at >= PIECE * 2) {
        const raw = Buffer.alloc(PIECE * 2);
        readSync(file, raw, 0, raw.length, at);
        at += raw.length;
        const samples = Float64Array.from({ length: PIECE }, (_, n) => raw.readInt16LE(n * 2) / 32768);
        const level = Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / PIECE);
        if (level > LOUD && toneShare(samples, PHONE_HERTZ, SPEAKER_RATE) > CLEAR) moments.push(Date.now());
      }
    } finally {
      closeSync(file);
    }
  };
}
