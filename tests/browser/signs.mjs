// The signs each side shows so that the other can be recognised beyond doubt: a moving colour code and
// tones. Makes the phone's test files, and reads what arrived. Pure except for writing the two files.

import { writeFileSync } from "node:fs";

/** What the door's camera shows: colour bars that wander sideways. In this cyclic order. */
export const BARS = ["white", "yellow", "cyan", "green", "magenta", "red", "blue"];
/** GStreamer fragment of that picture. */
export const DOOR_CAMERA = "videotestsrc is-live=true pattern=smpte horizontal-speed=4";
/** Tone of the door's microphone, in hertz. */
export const DOOR_HERTZ = 660;
export const DOOR_MICROPHONE = `audiotestsrc is-live=true wave=sine freq=${DOOR_HERTZ} volume=0.4`;
/** Tone of the phone's microphone, in hertz. */
export const PHONE_HERTZ = 440;
/** Sample rate of what the door writes as its speaker sound, in hertz. */
export const SPEAKER_RATE = 16_000;
/** Size of what the door writes as its display, in pixels, three bytes each. */
export const DISPLAY = { width: 160, height: 120 };

/** Phone's picture: the whole frame changes between magenta and green once a second. Y4M, 4:2:0. */
export function writePhonePicture(file) {
  const [width, height, rate] = [320, 240, 10];
  const colours = [
    [107, 202, 222], // magenta, BT.601
    [145, 54, 34], // green
  ];
  const parts = [Buffer.from(`YUV4MPEG2 W${width} H${height} F${rate}:1 Ip A1:1 C420jpeg\n`)];
  for (const [y, u, v] of colours) {
    const frame = Buffer.concat([
      Buffer.from("FRAME\n"),
      Buffer.alloc(width * height, y),
      Buffer.alloc((width * height) / 4, u),
      Buffer.alloc((width * height) / 4, v),
    ]);
    for (let n = 0; n < rate; n += 1) parts.push(frame);
  }
  writeFileSync(file, Buffer.concat(parts));
}

/** Phone's sound. */
export function writePhoneSound(file) {
  writeBeeps(file, PHONE_HERTZ);
}

/** Beeps, because noise suppression takes a steady tone for noise. WAV, 48 kHz mono, 10 s. */
export function writeBeeps(file, hertz) {
  const rate = 48_000;
  const samples = rate * 10;
  const data = Buffer.alloc(samples * 2);
  for (let n = 0; n < samples; n += 1) {
    const at = (n / rate) % 0.5;
    const edge = Math.max(0, Math.min(1, at / 0.01, (0.32 - at) / 0.01));
    data.writeInt16LE(Math.round(14_000 * edge * Math.sin((2 * Math.PI * hertz * n) / rate)), n * 2);
  }
  const head = Buffer.alloc(44);
  head.write("RIFF", 0);
  head.writeUInt32LE(36 + data.length, 4);
  head.write("WAVEfmt ", 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate * 2, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write("data", 36);
  head.writeUInt32LE(data.length, 40);
  writeFileSync(file, Buffer.concat([head, data]));
}

/** Name of a strong colour, or null for anything in between. */
export function colourName([red, green, blue]) {
  const high = [red, green, blue].map((level) => (level > 165 ? 1 : level < 90 ? 0 : NaN));
  if (high.some(Number.isNaN)) return null;
  return ["black", "blue", "green", "cyan", "red", "magenta", "yellow", "white"][high[0] * 4 + high[1] * 2 + high[2]];
}

/**
 * Reads one line of pixels as the door's bars.
 *
 * @param {number[][]} line [red, green, blue] from left to right
 * @param {string[]} bars the colours expected, in cyclic order
 * @returns {string|null} the colours seen in order, or null if this is not our test picture
 */
export function readBars(line, bars = BARS) {
  const names = line.map(colourName).filter((name) => name !== null);
  if (names.length < line.length * 0.7) return null;
  const order = names.filter((name, n) => name !== names[n - 1]);
  if (order.length < 6) return null;
  const first = bars.indexOf(order[0]);
  const asExpected = first >= 0 && order.every((name, n) => name === bars[(first + n) % bars.length]);
  return asExpected ? names.join(" ") : null;
}

/** The phone's colour in an RGB frame as the door shows it, or null. */
export function readPhoneColour(rgb, { width, height } = DISPLAY) {
  const sum = [0, 0, 0];
  let count = 0;
  for (let y = Math.floor(height * 0.4); y < height * 0.6; y += 1) {
    for (let x = Math.floor(width * 0.4); x < width * 0.6; x += 1) {
      for (let c = 0; c < 3; c += 1) sum[c] += rgb[(y * width + x) * 3 + c];
      count += 1;
    }
  }
  const [red, green, blue] = sum.map((total) => total / count);
  if (red > 150 && blue > 150 && green < 110) return "magenta";
  if (green > 150 && red < 110 && blue < 110) return "green";
  return null;
}

/**
 * Share of a tone in a piece of sound, 0 to 1 (Goertzel's algorithm against the energy of the whole).
 *
 * @param {Float64Array|number[]} samples
 */
export function toneShare(samples, hertz, rate) {
  const factor = 2 * Math.cos((2 * Math.PI * hertz) / rate);
  let [before, last, energy] = [0, 0, 0];
  for (const sample of samples) {
    const now = sample + factor * last - before;
    before = last;
    last = now;
    energy += sample * sample;
  }
  if (energy === 0) return 0;
  const power = last * last + before * before - factor * last * before;
  return (2 * power) / (samples.length * energy);
}

/**
 * Looks through the newest three seconds of S16LE mono sound in pieces of 100 ms.
 *
 * @returns {{share: number, level: number}} of the piece where the tone is clearest; level is RMS, 0 to 1.
 *   Pieces quieter than -54 dB count as silence.
 */
export function clearestTone(raw, hertz, rate = SPEAKER_RATE) {
  const length = rate / 10;
  const samples = new Float64Array(Math.floor(raw.length / 2));
  for (let n = 0; n < samples.length; n += 1) samples[n] = raw.readInt16LE(n * 2) / 32768;
  let best = { share: 0, level: 0 };
  const newest = samples.subarray(Math.max(0, samples.length - rate * 3));
  for (let from = 0; from + length <= newest.length; from += length / 2) {
    const piece = newest.subarray(from, from + length);
    const level = Math.sqrt(piece.reduce((sum, sample) => sum + sample * sample, 0) / length);
    if (level < 0.002) continue;
    const share = toneShare(piece, hertz, rate);
    if (share > best.share) best = { share, level };
  }
  return best;
}
