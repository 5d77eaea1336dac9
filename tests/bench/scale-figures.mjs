// From the samples of the scaling bench to its tables, its lines and what a board is expected to need. Pure.

import { cell, digits, quantile, summary } from "./figures.mjs";

/**
 * The straight line through the points with the least squares: what it costs without any, and what each costs.
 *
 * @param {[number, number][]} points at least two different places
 */
export function fit(points) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [x, y] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const spread = points.reduce((sum, [at]) => sum + (at - x) ** 2, 0);
  if (spread === 0) throw new Error("a line needs points at two places");
  const each = points.reduce((sum, [at, value]) => sum + (at - x) * (value - y), 0) / spread;
  return { fixed: y - each * x, each };
}

/** The line of each round by itself, and the summaries of what they have: `fixed` and `each`. */
export function fits(samples, value) {
  const rounds = new Map();
  for (const sample of samples) {
    const measured = value(sample);
    if (Number.isFinite(measured)) rounds.set(sample.round, [...(rounds.get(sample.round) ?? []), [sample.phones, measured]]);
  }
  const lines = [...rounds.values()].filter((points) => new Set(points.map(([x]) => x)).size > 1).map(fit);
  return { fixed: summary(lines.map(({ fixed }) => fixed)), each: summary(lines.map(({ each }) => each)) };
}

/** In each round: what so many phones cost, divided by what one does. */
export function toOne(samples, phones, value) {
  const rounds = [...new Set(samples.map(({ round }) => round))];
  const of = (round, count) => samples.find((sample) => sample.round === round && sample.phones === count);
  const both = rounds.map((round) => [of(round, phones), of(round, 1)]).filter(([some, one]) => some && one);
  return summary(both.map(([some, one]) => value(some) / value(one)));
}

/** The kinds of work in the daemon, by how the names of its threads begin. */
const WORK = {
  /** Where the camera's queue ends: converting, encoding, making packets. */
  encoder: ["camera-queue"],
  /** The links, and all else that is asynchronous. */
  network: ["tokio"],
  camera: ["shmsrc", "camera-feed"],
  sound: ["microphone", "audiotestsrc", "mixer", "floor", "speaker", "queue0"],
  rest: [""],
};

/** Cores by kind of work, from cores by name of thread. */
export function byWork(threads) {
  const cores = Object.fromEntries(Object.keys(WORK).map((kind) => [kind, 0]));
  for (const [name, cpu] of Object.entries(threads)) {
    const [kind] = Object.entries(WORK).find(([, begins]) => begins.some((begin) => name.startsWith(begin)));
    cores[kind] += cpu;
  }
  return cores;
}

/** What is shown of each point, and what lines are laid through. */
export const MEASURES = [
  ["CPU, cores", ({ cpu }) => cpu],
  ["encoder, cores", ({ work }) => work.encoder],
  ["network, cores", ({ work }) => work.network],
  ["camera, cores", ({ work }) => work.camera],
  ["sound, cores", ({ work }) => work.sound],
  ["PSS, MiB", ({ pss }) => pss],
  ["threads", ({ threads }) => threads],
  ["datagrams out, 1/s", ({ sends }) => sends],
];
const SEEN = [
  ["packets at each phone, 1/s", ({ packets }) => quantile(packets, 0.5)],
  ["pictures at the slowest phone, 1/s", ({ rates }) => Math.min(...rates)],
];

const fine = (value) => (Math.abs(value) >= 1 ? digits(value) : value.toFixed(4));
const exact = ({ median, low, high, n }) => (n === 0 ? "-" : `${fine(median)} (${fine(low)} to ${fine(high)})`);
const known = (values) => values.filter((value) => value !== null);

/** @param {string} first heading of the first column @param {Map<string, object[]>} rows samples by the row's name */
export function table(first, rows) {
  const columns = [...MEASURES, ...SEEN];
  const lines = [`| ${first} | ${columns.map(([name]) => name).join(" | ")} |`, `|--|${"--|".repeat(columns.length)}`];
  for (const [name, samples] of rows) {
    lines.push(`| ${name} | ${columns.map(([, value]) => cell(summary(known(samples.map(value))))).join(" | ")} |`);
  }
  return lines.join("\n");
}

/** The table of the lines through the points of each round. */
export function lineTable(samples) {
  const rows = MEASURES.map(([name, value]) => {
    const { fixed, each } = fits(samples, (sample) => value(sample) ?? NaN);
    return `| ${name} | ${exact(fixed)} | ${exact(each)} |`;
  });
  return ["| what | whatever looks | for each phone |", "|--|--|--|", ...rows].join("\n");
}

/** Samples by what `key` says of them, in the order of the keys. */
export function grouped(samples, key) {
  const groups = new Map();
  for (const sample of [...samples].sort((one, other) => key(one) - key(other))) {
    groups.set(key(sample), [...(groups.get(key(sample)) ?? []), sample]);
  }
  return groups;
}

/** Macroblocks (16 by 16 pixels) of a picture of this size, such as "640x480". */
export const blocksOf = (size) => size.split("x").reduce((product, side) => product * Math.ceil(Number(side) / 16), 1);

/**
 * What the machine that measured needs for each thing. Null where too little was measured, or nothing with x264's fastest
 * preset, which is what slow boards use.
 *
 * @param {{phones: object[], sizes: object[]}} samples
 * @param {number} rate pictures a second
 */
export function unitCosts(samples, rate) {
  const fastest = samples.sizes.filter(({ preset }) => preset === "ultrafast");
  const speeds = [...samples.phones, ...samples.sizes].map(({ speed }) => speed).filter(Number.isFinite);
  const phone = fits(samples.phones, ({ cpu }) => cpu).each;
  if (fastest.length === 0 || speeds.length === 0 || phone.n === 0) return null;
  const median = (all, value) => summary(all.map(value)).median;
  return {
    // Whatever else runs can only make it look slower.
    speed: Math.max(...speeds),
    encode: median(fastest, ({ size, work }) => work.encoder / (blocksOf(size) * rate)),
    deliver: median(samples.sizes, ({ size, work }) => work.camera / (blocksOf(size) * rate)),
    phone: phone.median,
    // Of the network what is there without a phone, too.
    rest: median(samples.phones, ({ work }) => work.sound + work.rest) + Math.max(0, fits(samples.phones, ({ work }) => work.network).fixed.median),
  };
}

/**
 * What a board is expected to need for a call, in its own cores: what was measured here, times how much slower it is.
 *
 * @param {{speed: number, encode: number, deliver: number, phone: number, rest: number}} here as `unitCosts` has it
 * @param {{speed: number, size: string, rate: number, hardware: boolean}} board
 */
export function expected(here, { speed, size, rate, hardware }) {
  const ratio = here.speed / speed;
  const blocks = blocksOf(size) * rate;
  const encoder = hardware ? 0 : here.encode * blocks * ratio;
  return { ratio, encoder, fixed: (here.deliver * blocks + here.rest) * ratio, phone: here.phone * ratio };
}

/** The most that `max_peers` takes. */
const MOST_PEERS = 16;

/**
 * The table of what is expected of boards, with so many phones, and how many they are at half of its cores: the other half is
 * for the one who talks, the voice processor, the screen and the system.
 */
export function boardTable(here, boards, counts) {
  const rows = boards.map((board) => {
    const { ratio, encoder, fixed, phone } = expected(here, board);
    const all = counts.map((count) => digits(encoder + fixed + count * phone));
    const fit = Math.max(0, Math.floor((board.cores / 2 - encoder - fixed) / phone));
    const by = board.hardware ? "hardware" : "x264";
    const most = fit >= MOST_PEERS ? `${MOST_PEERS}, as many as it may` : fit;
    return `| ${board.name} | ${board.size} at ${board.rate}, ${by} | ${ratio.toFixed(1)} | ${digits(encoder)} | ${digits(fixed)} | ${fine(phone)} | ${all.join(" | ")} | ${most} |`;
  });
  const totals = counts.map((count) => `${count} ${count === 1 ? "phone" : "phones"}`);
  return [
    `| estimate, cores | picture | times slower | encoder | camera and sound | each phone | ${totals.join(" | ")} | phones at half its cores |`,
    `|--|${"--|".repeat(6 + counts.length)}`,
    ...rows,
  ].join("\n");
}
