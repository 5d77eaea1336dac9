// What the table says of samples.

import assert from "node:assert/strict";
import { test } from "node:test";
import { cell, picture, quantile, summary, table } from "./figures.mjs";

test("quantiles lie between the samples they fall between", () => {
  assert.equal(quantile([3, 1, 2], 0.5), 2);
  assert.equal(quantile([1, 2], 0.5), 1.5);
  assert.equal(quantile([10], 0.95), 10);
  assert.equal(quantile([], 0.5), null);
});

test("what failed is counted and not averaged", () => {
  assert.deepEqual(summary([100, null, 300, NaN]), { median: 200, low: 150, high: 250, n: 2, failed: 2 });
  assert.equal(cell(summary([100, null, 300])), "200 (150 to 250), failed 1 of 3");
  assert.equal(cell(summary([null])), "failed 1 of 1");
  assert.equal(cell(summary([])), "-");
});

test("the table tells ratios and whether a goal was reached, and leaves out what was not measured", () => {
  const measures = [
    { name: "press", unit: "ms", goals: { kiosk: 0.6, python: 0.3 } },
    { name: "memory", unit: "MiB" },
  ];
  const text = table(measures, ["intercomd", "kiosk", "python"], { press: { intercomd: [50], kiosk: [100], python: [100] } });
  assert.match(text, /kiosk 0\.50 \(goal 0\.6: reached\), python 0\.50 \(goal 0\.3: missed\)/);
  assert.doesNotMatch(text, /memory/);
});

test("a goal that has nothing to do with the others is told by itself", () => {
  const row = (value) => table([{ name: "cost", unit: "times", most: 1.5 }], ["intercomd", "kiosk"], { cost: { intercomd: [value], kiosk: [4] } });
  assert.match(row(1.4), /\| intercomd within its 1\.5, kiosk 0\.35 \|/);
  assert.match(row(1.6), /\| intercomd above its 1\.5, kiosk 0\.40 \|/);
});

test("the picture has a bar for each door that was measured", () => {
  const svg = picture("a < b", [{ name: "press", unit: "ms" }], ["intercomd", "kiosk", "python"], { press: { intercomd: [50], kiosk: [100] } });
  assert.equal(svg.match(/<rect x=/g).length, 2);
  assert.match(svg, /a &lt; b/);
});
