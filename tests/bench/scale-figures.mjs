// From the samples of the scaling bench to its tables, its lines and what a board is expected to do. Pure.

import { COLOURS, cell, digits, escaped, quantile, summary } from "./figures.mjs";

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
  const fixed = y - each * x;
  return { fixed, each, off: Math.max(...points.map(([at, value]) => Math.abs(value - fixed - each * at))) };
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

/** The kinds of work in the daemon, by the names of its threads. The encoder works where the camera's queue ends. */
export const WORK = ["encoder", "network", "sound", "rest"];

/** Cores by kind of work, from cores by name of thread. */
export function byWork(threads) {
  const cores = Object.fromEntries(WORK.map((work) => [work, 0]));
  for (const [name, cpu] of Object.entries(threads)) cores[workOf(name)] += cpu;
  return cores;
}

function workOf(name) {
  if (name.startsWith("tokio")) return "network";
  return "rest";
}

/** What each point is shown with. */
export const COLUMNS = [
  ["CPU, cores", ({ cpu }) => cpu],
  ["encoder", ({ work }) => work.encoder],
  ["network", ({ work }) => work.network],
  ["PSS, MiB", ({ pss }) => pss],
  ["threads", ({ threads }) => threads],
  ["datagrams out, 1/s", ({ sends }) => sends],
  ["packets at each phone, 1/s", ({ packets }) => quantile(packets, 0.5)],
  ["pictures at the slowest phone, 1/s", ({ rates }) => Math.min(...rates)],
];

/** @param {string} first heading of the first column @param {Map<string, object[]>} rows samples by the row's name */
export function table(first, rows) {
  const lines = [`| ${first} | ${COLUMNS.map(([name]) => name).join(" | ")} |`, `|--|${"--|".repeat(COLUMNS.length)}`];
  for (const [name, samples] of rows) {
    lines.push(`| ${name} | ${COLUMNS.map(([, value]) => cell(summary(samples.map(value).filter((sample) => sample !== null)))).join(" | ")} |`);
  }
  return lines.join("\n");
}

/** Samples by what `key` says of them, in the order of the keys. */
export function grouped(samples, key) {
  const groups = new Map();
  for (const sample of [...samples].sort((one, other) => key(one) - key(other))) {
    groups.set(key(sample), [...(groups.get(key(sample)) ?? []), sample]);
  }
  return groups;
}

const [PANEL, ROOM] = [{ width: 300, height: 190 }, { left: 56, top: 46, right: 24, bottom: 44 }];
const ACROSS = 3;

/**
 * Plots, side by side: medians with their quartiles, and a line where there is one.
 *
 * @param {string} title
 * @param {{name: string, unit: string, of: string, series: {name: string, points: {x: number, values: number[]}[],
 *   line?: {fixed: number, each: number}}[]}[]} panels `of`: what is on the horizontal axis
 */
export function plot(title, panels) {
  const [width, height] = [ROOM.left + PANEL.width + ROOM.right, ROOM.top + PANEL.height + ROOM.bottom];
  const parts = panels.map((panel, n) => {
    const [x, y] = [(n % ACROSS) * width, 30 + Math.floor(n / ACROSS) * height];
    return `<g transform="translate(${x} ${y})">\n${drawn(panel)}\n</g>`;
  });
  const rows = Math.ceil(panels.length / ACROSS);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${Math.min(ACROSS, panels.length) * width}" height="${30 + rows * height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="10" y="20" font-size="14">${escaped(title)}</text>
${parts.join("\n")}
</svg>
`;
}

function drawn({ name, unit, of, series }) {
  const rows = series.map(({ points, ...one }, n) => ({ ...one, colour: COLOURS[n % COLOURS.length], dots: points.map(({ x, values }) => ({ x, ...summary(values) })) }));
  const dots = rows.flatMap(({ dots }) => dots);
  const [far, most] = [Math.max(...dots.map(({ x }) => x)), 1.1 * Math.max(...dots.map(({ high }) => high)) || 1];
  const bottom = ROOM.top + PANEL.height;
  const across = (x) => (ROOM.left + (x / far) * PANEL.width).toFixed(1);
  const up = (value) => (bottom - (value / most) * PANEL.height).toFixed(1);
  const parts = [
    `<text x="${ROOM.left}" y="16" font-weight="bold">${escaped(`${name}, ${unit}`)}</text>`,
    `<path d="M${ROOM.left} ${ROOM.top}V${bottom}H${ROOM.left + PANEL.width}" fill="none" stroke="#000"/>`,
    `<text x="${ROOM.left + PANEL.width / 2}" y="${bottom + 34}" text-anchor="middle">${escaped(of)}</text>`,
  ];
  for (const value of [0, most / 2, most]) parts.push(`<text x="${ROOM.left - 6}" y="${Number(up(value)) + 4}" text-anchor="end">${value ? digits(value) : 0}</text>`);
  for (const x of new Set(dots.map(({ x }) => x))) parts.push(`<text x="${across(x)}" y="${bottom + 16}" text-anchor="middle">${x}</text>`);
  for (const [n, { name, line, colour, dots }] of rows.entries()) {
    if (rows.length > 1) parts.push(`<text x="${ROOM.left + 10 + n * 78}" y="34" fill="${colour}">${escaped(name)}</text>`);
    if (line) parts.push(`<line x1="${across(0)}" y1="${up(line.fixed)}" x2="${across(far)}" y2="${up(line.fixed + line.each * far)}" stroke="${colour}"/>`);
    for (const { x, median, low, high, n: count } of dots) {
      parts.push(`<line x1="${across(x)}" x2="${across(x)}" y1="${up(low)}" y2="${up(high)}" stroke="${colour}" stroke-width="2"/>`);
      parts.push(`<circle cx="${across(x)}" cy="${up(median)}" r="3.5" fill="${colour}"><title>${digits(median)}, of ${count}</title></circle>`);
    }
  }
  return parts.join("\n");
}

/**
 * What a board is expected to need for a call, in its own cores: what was measured here, times how much slower it is.
 *
 * @param {{speed: number, block: number, phone: number, rest: number}} here of the machine that measured: blocks a second its core
 *   encodes, cores for one block a second, for each phone, and for what is neither
 * @param {{speed: number, blocks: number, hardware: boolean}} board `blocks`: of the picture, a second
 * @param {number} phones
 */
export function expected(here, board, phones) {
  const ratio = here.speed / board.speed;
  const encoder = board.hardware ? 0 : here.block * board.blocks * ratio;
  return { ratio, encoder, phones: phones * here.phone * ratio, rest: here.rest * ratio };
}
