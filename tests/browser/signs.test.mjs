// The readers of pictures and tones must be able to say no: otherwise the call tests prove nothing.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { BARS, DISPLAY, PHONE_HERTZ, SPEAKER_RATE, clearestTone, readBars, readPhoneColour, toneShare } from "./signs.mjs";

const RGB = { white: [255, 255, 255], yellow: [255, 255, 0], cyan: [0, 255, 255], green: [0, 255, 0], magenta: [255, 0, 255], red: [255, 0, 0], blue: [0, 0, 255], black: [0, 0, 0] };
const line = (names) => names.flatMap((name) => Array(8).fill(RGB[name]));
const turned = (by) => BARS.map((_, n) => BARS[(n + by) % BARS.length]);
const sine = (hertz, level = 0.3, seconds = 1) => Float64Array.from({ length: SPEAKER_RATE * seconds }, (_, n) => level * Math.sin((2 * Math.PI * hertz * n) / SPEAKER_RATE));
const raw = (samples) => {
  const bytes = Buffer.alloc(samples.length * 2);
  samples.forEach((sample, n) => bytes.writeInt16LE(Math.round(sample * 32767), n * 2));
  return bytes;
};

describe("the door's bars", () => {
  test("are read wherever they have wandered", () => {
    for (let by = 0; by < BARS.length; by += 1) assert.notEqual(readBars(line(turned(by))), null);
  });
  test("give another reading when they move", () => assert.notEqual(readBars(line(turned(0))), readBars(line(turned(1)))));
  test("are not read from black, one colour, grey, or another order", () => {
    for (const names of [Array(7).fill("black"), Array(7).fill("green"), [...BARS].reverse()]) assert.equal(readBars(line(names)), null);
    assert.equal(readBars(Array(56).fill([128, 128, 128])), null);
  });
});

describe("the phone's colour", () => {
  const frame = (name) => Buffer.from(Array(DISPLAY.width * DISPLAY.height).fill(RGB[name]).flat());
  test("is magenta or green and nothing else", () => {
    for (const name of Object.keys(RGB)) assert.equal(readPhoneColour(frame(name)), ["magenta", "green"].includes(name) ? name : null);
  });
});

describe("the tone", () => {
  test("is all of a pure tone and none of another", () => {
    assert.ok(toneShare(sine(PHONE_HERTZ), PHONE_HERTZ, SPEAKER_RATE) > 0.99);
    assert.ok(toneShare(sine(660), PHONE_HERTZ, SPEAKER_RATE) < 0.01);
  });
  test("is not found in silence, in noise, or in the door's own tone", () => {
    const noise = Float64Array.from({ length: SPEAKER_RATE }, (_, n) => 0.3 * (((n * 7919 + 12345) % 1000) / 500 - 1));
    for (const samples of [new Float64Array(SPEAKER_RATE), noise, sine(660)]) assert.ok(clearestTone(raw(samples), PHONE_HERTZ).share < 0.1);
  });
  test("counts only while it is new", () => {
    const old = Float64Array.from([...sine(PHONE_HERTZ), ...new Float64Array(SPEAKER_RATE * 3)]);
    assert.equal(clearestTone(raw(old), PHONE_HERTZ).share, 0);
  });
});
