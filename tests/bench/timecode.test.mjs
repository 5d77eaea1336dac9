// The clock in the picture can be read, and what is none is not taken for one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ROUND_MS, age, squares } from "./timecode.mjs";

const drawn = (ms) => squares(ms).map((white) => (white ? 235 : 16));

test("a picture tells its age, also across the clock's new beginning", () => {
  for (const at of [0, 1, 40_000, ROUND_MS - 1, ROUND_MS, 1_795_690_123_456]) {
    for (const later of [0, 7, 850, 20_000]) assert.equal(age(drawn(at), at + later), later);
  }
});

test("a row with one wrong square is no clock", () => {
  const row = drawn(12_345);
  for (let n = 0; n < row.length; n += 1) {
    const damaged = row.with(n, 251 - row[n]);
    assert.equal(age(damaged, 12_345), null);
  }
});

test("grey squares and rows of another length are no clock", () => {
  assert.equal(age(drawn(1).with(3, 128), 1), null);
  assert.equal(age(drawn(1).slice(1), 1), null);
  assert.equal(age([], 1), null);
});
