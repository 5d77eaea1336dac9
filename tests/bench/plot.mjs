// Points with their spread, and lines through them, as SVG. Pure.

import { COLOURS, digits, escaped, sheet, summary } from "./figures.mjs";

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
  return sheet(title, [Math.min(ACROSS, panels.length) * width, 30 + rows * height], parts);
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
