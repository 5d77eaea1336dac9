// What the scaling bench makes of its samples.

import assert from "node:assert/strict";
import { test } from "node:test";
import { expected, fit, fits, grouped, plot, table, toOne } from "./scale-figures.mjs";

const near = (value, wanted) => assert.ok(Math.abs(value - wanted) < 1e-9, `${value} is not ${wanted}`);

test("a line through points on a line is that line", () => {
  const { fixed, each, off } = fit([[1, 5], [2, 7], [8, 19]]);
  near(fixed, 3);
  near(each, 2);
  near(off, 0);
});

test("a point that is off pulls the line as little as the least squares allow, and is told", () => {
  const { fixed, each, off } = fit([[0, 0], [1, 3], [2, 0]]);
  near(fixed, 1);
  near(each, 0);
  near(off, 2);
  assert.throws(() => fit([[4, 1], [4, 2]]), /two places/);
});

test("each round has a line of its own, and what was not measured is left out of it", () => {
  const cpu = { 0: [10, 12, 14], 1: [20, 23, 26] };
  const samples = [0, 1].flatMap((round) => cpu[round].map((value, n) => ({ round, phones: n + 1, cpu: value, sends: null })));
  const { fixed, each } = fits(samples, ({ cpu }) => cpu);
  near(fixed.median, 12.5);
  near(each.median, 2.5);
  assert.equal(each.n, 2);
  assert.equal(fits(samples, ({ sends }) => sends ?? NaN).each.n, 0);
});

test("many phones are compared with one of the same round", () => {
  const samples = [[0, 1, 10], [0, 4, 12], [1, 1, 20], [1, 4, 22], [2, 4, 99]].map(([round, phones, cpu]) => ({ round, phones, cpu }));
  const { median, n } = toOne(samples, 4, ({ cpu }) => cpu);
  near(median, 1.15);
  assert.equal(n, 2);
});

test("the table has a row for each group in their order, medians, and the slowest phone", () => {
  const one = { work: { encoder: 0.1, network: 0.02 }, pss: 40, threads: 20, sends: null };
  const samples = [
    { ...one, phones: 2, cpu: 0.2, packets: [150, 160], rates: [30, 20] },
    { ...one, phones: 1, cpu: 0.1, packets: [150], rates: [30] },
    { ...one, phones: 2, cpu: 0.3, packets: [150, 160], rates: [30, 24] },
  ];
  const [, , first, second] = table("phones", grouped(samples, ({ phones }) => phones)).split("\n");
  assert.match(first, /^\| 1 \| 0\.10 \|.*\| 30\.0 \|$/);
  assert.match(second, /^\| 2 \| 0\.25 \(0\.23 to 0\.28\) \|.*\| - \|.*\| 22\.0 /);
});

test("the plot has a dot for each point and a line where one was fitted", () => {
  const points = [{ x: 1, values: [1, 2, 3] }, { x: 8, values: [5] }];
  const svg = plot("a < b", [{ name: "CPU", unit: "cores", of: "phones", series: [{ name: "all", points, line: { fixed: 1, each: 0.5 } }, { name: "part", points }] }]);
  assert.equal(svg.match(/<circle/g).length, 4);
  assert.equal(svg.match(/stroke="#c2410c"\/>/g).length, 1);
  assert.match(svg, /a &lt; b/);
  assert.doesNotMatch(svg, /NaN|undefined|Infinity/);
});

test("a board that is slower needs more of its cores, and none for an encoder in hardware", () => {
  const here = { speed: 900, block: 0.001, phone: 0.01, rest: 0.02 };
  const soft = expected(here, { speed: 300, blocks: 100, hardware: false }, 4);
  near(soft.ratio, 3);
  near(soft.encoder, 0.3);
  near(soft.phones, 0.12);
  near(soft.rest, 0.06);
  assert.equal(expected(here, { speed: 300, blocks: 100, hardware: true }, 4).encoder, 0);
});
