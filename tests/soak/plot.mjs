// Samples of a soak as a picture: memory of its own and shared, threads, descriptors and files over the calls. Pure.

import { escaped, quantile, sheet } from "../bench/figures.mjs";

const PANELS = [
  { key: "anonymous", name: "anonymous memory, MiB", colour: "#b45309" },
  { key: "pss", name: "memory (PSS), MiB", colour: "#c2410c" },
  { key: "threads", name: "threads", colour: "#1d4ed8" },
  { key: "descriptors", name: "descriptors", colour: "#047857" },
  { key: "files", name: "files in the state folder", colour: "#7c3aed" },
];
const [LEFT, WIDTH, HEIGHT, GAP, TOP] = [60, 640, 110, 46, 50];

/** @param {string} title @param {object[]} samples as of `sample` */
export function plot(title, samples) {
  const most = samples.at(-1)?.calls ?? 1;
  const x = (calls) => LEFT + (calls / most) * WIDTH;
  const parts = PANELS.flatMap(({ key, name, colour }, n) => {
    const top = TOP + n * (HEIGHT + GAP);
    const values = samples.map((sample) => sample[key]);
    const high = Math.max(1, ...values) * 1.1;
    const y = (value) => top + HEIGHT - (value / high) * HEIGHT;
    const points = samples.map((sample) => `${x(sample.calls).toFixed(1)},${y(sample[key]).toFixed(1)}`).join(" ");
    const median = quantile(values, 0.5) ?? 0;
    return [
      `<text x="${LEFT}" y="${top - 6}" font-weight="bold">${escaped(name)}</text>`,
      `<rect x="${LEFT}" y="${top}" width="${WIDTH}" height="${HEIGHT}" fill="none" stroke="#a3a3a3"/>`,
      ...[0, median, high].map((value) => `<text x="${LEFT - 6}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${value.toFixed(0)}</text>`),
      `<polyline points="${points}" fill="none" stroke="${colour}" stroke-width="1.5"/>`,
    ];
  });
  const bottom = TOP + PANELS.length * (HEIGHT + GAP) - GAP;
  const marks = [0, 0.25, 0.5, 0.75, 1].map((share) => `<text x="${x(share * most).toFixed(1)}" y="${bottom + 16}" text-anchor="middle">${Math.round(share * most)}</text>`);
  const under = `<text x="${LEFT + WIDTH / 2}" y="${bottom + 32}" text-anchor="middle">calls</text>`;
  return sheet(title, [LEFT + WIDTH + 30, bottom + 40], [...parts, ...marks, under]);
}
