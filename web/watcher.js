// Watches the picture and the connection of a call: when the first picture is on the screen, and how good it is.

import { Steady, judge, sample } from "./quality.js";

const LOOK_MS = 2_000;

/** Tells of the first picture of each stream that the visitor's element presents. */
export class FirstPicture {
  #video;
  #seen;
  #stream = null;

  /** @param {HTMLVideoElement} video @param {(at: number) => void} seen `at` by the clock of `performance.now()` */
  constructor(video, seen) {
    this.#video = video;
    this.#seen = seen;
  }

  /** Called whenever the element may have got another stream. */
  follow() {
    const stream = this.#video.srcObject;
    if (stream === this.#stream) return;
    this.#stream = stream;
    if (stream) this.#wait(stream);
  }

  #wait(stream) {
    const found = (at) => {
      if (this.#stream === stream) this.#seen(at);
    };
    if (this.#video.requestVideoFrameCallback) {
      this.#video.requestVideoFrameCallback((now, { presentationTime }) => found(presentationTime ?? now));
    } else {
      this.#video.addEventListener("loadeddata", () => found(performance.now()), { once: true });
    }
  }
}

/** Judges the connection again and again. */
export class QualityWatch {
  #connection = null;
  #timer = null;
  #supply = "full";
  #changed;
  #steady = new Steady();
  #quality = null;

  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
  }

  /** @returns {import("./quality.js").Quality|null} */
  get quality() {
    return this.#quality;
  }

  /** Follows this connection from now on, or none. */
  follow(connection, supply) {
    this.#supply = supply;
    if (connection === this.#connection) return;
    clearInterval(this.#timer);
    this.#connection = connection;
    this.#steady = new Steady();
    this.#quality = null;
    if (connection === null) return;
    let before = null;
    this.#timer = setInterval(async () => {
      const report = await connection.getStats().catch(() => null);
      if (report === null || connection !== this.#connection) return;
      const now = sample(report.values(), performance.now());
      const found = before && this.#steady.take(judge(before, now, this.#supply));
      before = now;
      if (found === this.#quality) return;
      this.#quality = found;
      this.#changed();
    }, LOOK_MS);
  }
}
