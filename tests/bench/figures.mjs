// From samples to a table: medians with their spread, ratios, Markdown and SVG. Pure.

/** The value below which this share of the values lies. */
export function quantile(values, share) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((one, other) => one - other);
  const at = (sorted.length - 1) * share;
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low + (high - low) * (at - Math.floor(at));
}

/** Median, quartiles and count of the samples that are numbers; `failed` counts the others. */
export function summary(samples) {
  const good = samples.filter((sample) => typeof sample === "number" && Number.isFinite(sample));
  const [low, median, high] = [0.25, 0.5, 0.75].map((share) => quantile(good, share));
  return { median, low, high, n: good.length, failed: samples.length - good.length };
}

export const digits = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

/** A cell: the median, the quartiles, and how many failed. */
export function cell({ median, low, high, n, failed }) {
  if (n === 0) return failed > 0 ? `failed ${failed} of ${failed}` : "-";
  const spread = n > 1 ? ` (${digits(low)} to ${digits(high)})` : "";
  return `${digits(median)}${spread}${failed > 0 ? `, failed ${failed} of ${n + failed}` : ""}`;
}

/**
 * The table in Markdown.
 *
 * @param {{name: string, unit: string, goals?: Record<string, number>, most?: number}[]} measures `goals`: how many times theirs ours
 *   may be at most; `most`: how much ours may be
 * @param {string[]} doors the first is ours
 * @param {Record<string, Record<string, number[]>>} samples by measure and door
 */
export function table(measures, doors, samples) {
  const [ours, ...others] = doors;
  const lines = [`| measure | ${doors.join(" | ")} | ours to theirs |`, `|--|${"--|".repeat(doors.length + 1)}`];
  for (const { name, unit, goals = {}, most } of measures) {
    const sums = Object.fromEntries(doors.map((door) => [door, summary(samples[name]?.[door] ?? [])]));
    if (doors.every((door) => sums[door].n + sums[door].failed === 0)) continue;
    const ratios = others.flatMap((other) => {
      if (sums[ours].n === 0 || !sums[other].median) return [];
      const ratio = sums[ours].median / sums[other].median;
      const goal = goals[other];
      const verdict = goal === undefined ? "" : ratio <= goal ? ` (goal ${goal}: reached)` : ` (goal ${goal}: missed)`;
      return [`${other} ${ratio.toFixed(2)}${verdict}`];
    });
    if (most !== undefined && sums[ours].n > 0) ratios.unshift(`${ours} ${sums[ours].median <= most ? "within" : "above"} its ${most}`);
    lines.push(`| ${name}, ${unit} | ${doors.map((door) => cell(sums[door])).join(" | ")} | ${ratios.join(", ")} |`);
  }
  return lines.join("\n");
}

export const COLOURS = ["#c2410c", "#1d4ed8", "#047857", "#7c3aed", "#525252"];
/** Text that stands for itself in a picture. */
export const escaped = (text) => text.replace(/[&<>]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[sign]);

/** All measures as bars with their quartiles, each with a scale of its own. */
export function picture(title, measures, doors, samples) {
  const [left, width, bar, gap] = [210, 560, 16, 34];
  const parts = [];
  let y = 40;
  for (const { name, unit } of measures) {
    const rows = doors.map((door, n) => ({ door, colour: COLOURS[n % COLOURS.length], ...summary(samples[name]?.[door] ?? []) }));
    const seen = rows.filter(({ n }) => n > 0);
    if (seen.length === 0) continue;
    const most = Math.max(...seen.map(({ high }) => high)) || 1;
    const x = (value) => left + (value / most) * width;
    parts.push(`<text x="10" y="${y}" font-weight="bold">${escaped(`${name}, ${unit}`)}</text>`);
    y += 8;
    for (const { door, colour, median, low, high } of seen) {
      const middle = y + bar / 2;
      parts.push(
        `<text x="${left - 8}" y="${middle + 4}" text-anchor="end">${escaped(door)}</text>`,
        `<rect x="${left}" y="${y}" width="${(x(median) - left).toFixed(1)}" height="${bar - 3}" fill="${colour}"/>`,
        `<line x1="${x(low).toFixed(1)}" x2="${x(high).toFixed(1)}" y1="${middle - 1}" y2="${middle - 1}" stroke="#000"/>`,
        `<text x="${(x(Math.max(high, median)) + 6).toFixed(1)}" y="${middle + 4}">${digits(median)}</text>`,
      );
      y += bar;
    }
    y += gap;
  }
  return sheet(title, [left + width + 80, y], parts);
}

/** A white sheet with a title and what is drawn on it, as SVG. */
export function sheet(title, [width, height], parts) {
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="10" y="20" font-size="14">${escaped(title)}</text>
${parts.join("\n")}
</svg>
`;
}
