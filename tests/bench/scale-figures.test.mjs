// What the scaling bench makes of its samples.

import assert from "node:assert/strict";
import { test } from "node:test";
import { plot } from "./plot.mjs";
import { blocksOf, boardTable, byWork, expected, fit, fits, grouped, lineTable, table, toOne, unitCosts } from "./scale-figures.mjs";

const near = (value, wanted) => assert.ok(Math.abs(value - wanted) < 1e-9, `${value} is not ${wanted}`);

const WORK = { encoder: 0.1, network: 0.02, camera: 0.01, sound: 0.03, rest: 0 };
const SAMPLE = { round: 0, phones: 1, size: "640x480", cpu: 0.2, work: WORK, pss: 40, threads: 20, sends: null, packets: [150], rates: [30] };

test("a line through points on a line is that line", () => {
  const { fixed, each } = fit([[1, 5], [2, 7], [8, 19]]);
  near(fixed, 3);
  near(each, 2);
});

test("a point that is off pulls the line as little as the least squares allow", () => {
  const { fixed, each } = fit([[0, 0], [1, 3], [2, 0]]);
  near(fixed, 1);
  near(each, 0);
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

test("threads are told apart by their names, and none is lost", () => {
  const work = byWork({ "camera-queue:sr": 0.1, "tokio-rt-worker": 0.2, "shmsrc0:src": 0.3, "microphone-queu": 0.4, "mixer:src": 0.5, intercomd: 0.6 });
  assert.deepEqual([work.encoder, work.network, work.camera, work.sound, work.rest], [0.1, 0.2, 0.3, 0.9, 0.6]);
});

test("the table has a row for each group in their order, medians, and the slowest phone", () => {
  const two = { ...SAMPLE, phones: 2, packets: [150, 160] };
  const samples = [{ ...two, rates: [30, 20] }, { ...SAMPLE, cpu: 0.1 }, { ...two, cpu: 0.3, rates: [30, 24] }];
  const [, , first, second] = table("phones", grouped(samples, ({ phones }) => phones)).split("\n");
  assert.match(first, /^\| 1 \| 0\.10 \|.*\| 30\.0 \|$/);
  assert.match(second, /^\| 2 \| 0\.25 \(0\.23 to 0\.28\) \|.*\| - \|.*\| 22\.0 /);
});

test("lines are told with more digits, and nothing where nothing was counted", () => {
  const samples = [1, 2, 3].map((phones) => ({ ...SAMPLE, phones, cpu: 0.2 + 0.004 * phones }));
  const text = lineTable(samples);
  assert.match(text, /^\| CPU, cores \| 0\.2000 .* \| 0\.0040 /m);
  assert.match(text, /^\| datagrams out, 1\/s \| - \| - \|$/m);
});

test("a picture has the blocks that cover it", () => {
  assert.equal(blocksOf("640x480"), 1_200);
  assert.equal(blocksOf("1920x1080"), 120 * 68);
});

test("what one thing costs is read off pictures at the fastest preset, and the fastest look at the machine", () => {
  const phones = [1, 2, 3].map((phones) => ({ ...SAMPLE, phones, cpu: 0.16 + 0.005 * phones, work: { ...WORK, network: 0.01 + 0.004 * phones }, preset: "fast", speed: 500 }));
  const sizes = [
    { ...SAMPLE, preset: "fast", speed: 600 },
    { ...SAMPLE, preset: "ultrafast", speed: 400, work: { ...WORK, encoder: 0.036 } },
  ];
  const here = unitCosts({ phones, sizes }, 30);
  assert.equal(here.speed, 600);
  near(here.encode, 0.036 / 36_000);
  near(here.deliver, 0.01 / 36_000);
  near(here.phone, 0.005);
  near(here.rest, 0.04);
  assert.equal(unitCosts({ phones, sizes: [] }, 30), null);
  assert.equal(unitCosts({ phones: phones.slice(0, 1), sizes }, 30), null);
});

test("a board that is slower needs more of its cores, and none for an encoder in hardware", () => {
  const here = { speed: 900, encode: 1e-6, deliver: 1e-7, phone: 0.01, rest: 0.02 };
  const board = { name: "one", speed: 300, size: "640x480", rate: 25, hardware: false, cores: 4 };
  const soft = expected(here, board);
  near(soft.ratio, 3);
  near(soft.encoder, 0.09);
  near(soft.fixed, 0.069);
  near(soft.phone, 0.03);
  assert.equal(expected(here, { ...board, hardware: true }).encoder, 0);
  assert.match(boardTable(here, [board], [1, 4]), /\| one \| 640x480 at 25, x264 \| 3\.0 \| 0\.09 \| 0\.07 \| 0\.0300 \| 0\.19 \| 0\.28 \| 16, as many as it may \|$/);
  const small = { ...board, speed: 30 };
  assert.match(boardTable(here, [small], [1]), /\| 1 \|$/, "1.59 of 2 cores before the first, 0.3 for each");
});

test("the plot has a dot for each point and a line where one was fitted", () => {
  const points = [{ x: 1, values: [1, 2, 3] }, { x: 8, values: [5] }];
  const svg = plot("a < b", [{ name: "CPU", unit: "cores", of: "phones", series: [{ name: "all", points, line: { fixed: 1, each: 0.5 } }, { name: "part", points }] }]);
  assert.equal(svg.match(/<circle/g).length, 4);
  assert.equal(svg.match(/stroke="#c2410c"\/>/g).length, 1);
  assert.match(svg, /a &lt; b/);
  assert.doesNotMatch(svg, /NaN|undefined|Infinity/);
});
