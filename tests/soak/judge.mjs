// Whether samples of a long run are flat. Pure.
//
// Two signs, for neither alone can be trusted: what the end has more than the beginning, by medians, and the slope of a
// straight line through all. A leak shows in both; a cache that fills, or one late sample, in one of them.

import { quantile } from "../bench/figures.mjs";

/** Calls after which all that is built once has been built. */
const WARM = 30;
/** Samples that are the least to judge. */
const LEAST = 3;
/** The share of the samples that is the beginning, and the end. */
const TENTH = 0.1;

/**
 * What is looked at. `slack`: how much it may have grown at the end whatever the number of calls, which is how far one
 * moment differs from another; `rate`: how much more for each 1000 calls.
 *
 * PSS is shown and not judged: it changes when other programs begin or end to share a library. A thread of the pool for
 * what blocks lives for ten seconds after its work, so their number is that of the last calls; all others end with theirs.
 * Of the files each call of the log has a picture or not.
 */
export const MEASURES = [
  { key: "ownThreads", name: "threads outside the pool", slack: 1, rate: 0 },
  { key: "threads", name: "threads", slack: 6, rate: 0 },
  { key: "descriptors", name: "descriptors", slack: 2, rate: 0 },
  { key: "anonymous", name: "anonymous memory, MiB", slack: 6, rate: 1 },
  { key: "rss", name: "memory (RSS), MiB", slack: 10, rate: 1 },
  { key: "files", name: "files", slack: 12, rate: 0 },
  { key: "fileBytes", name: "bytes of files", slack: 500_000, rate: 0 },
  { key: "linesPerCall", name: "lines of log for each call", slack: 5, rate: 0 },
];

/** Calls that are the least to judge, with a sample after every so many. */
export const leastCalls = (every) => (Math.ceil(WARM / every) + LEAST - 1) * every;

/** Slope of the straight line with the least squares through points `[x, y]`. */
export function slope(points) {
  const mean = (at) => points.reduce((sum, point) => sum + point[at], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const spread = points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0);
  return spread === 0 ? 0 : points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0) / spread;
}

/** The samples with what each call since the former one wrote into the log. */
export function withLines(samples) {
  return samples.map((sample, n) => {
    const former = samples[n - 1] ?? { calls: 0, logLines: 0 };
    return { ...sample, linesPerCall: (sample.logLines - former.logLines) / Math.max(1, sample.calls - former.calls) };
  });
}

/**
 * Judges samples taken between calls, oldest first.
 *
 * @returns {{name: string, first: number, last: number, perThousand: number, limit: number, flat: boolean}[]}
 *   `first`, `last`: medians of the first and last tenth after warming up; `perThousand`: growth in 1000 calls by the
 *   slope; `limit`: how much growth from the first to the last there may be
 */
export function judge(samples) {
  const warm = samples.filter(({ calls }) => calls >= WARM);
  if (warm.length < LEAST) throw new Error(`${warm.length} samples after the first ${WARM} calls are too few to judge`);
  const some = Math.max(1, Math.round(warm.length * TENTH));
  const span = warm.at(-1).calls - warm[0].calls;
  return MEASURES.map(({ key, name, slack, rate }) => {
    const values = warm.map((sample) => sample[key]);
    const [first, last] = [values.slice(0, some), values.slice(-some)].map((part) => quantile(part, 0.5));
    const growth = slope(warm.map((sample) => [sample.calls, sample[key]]));
    const limit = slack + (rate * span) / 1000;
    const flat = last - first <= limit && growth * span <= limit;
    return { name, first, last, perThousand: 1000 * growth, limit, flat };
  });
}

const digits = (value) => (Math.abs(value) >= 1000 ? value.toFixed(0) : Number(value.toFixed(2)).toString());

/** One line for people. */
export function words({ name, first, last, perThousand, limit, flat }) {
  return `${name}: ${digits(first)} at first, ${digits(last)} at last, ${digits(perThousand)} more in 1000 calls by the slope; ${digits(limit)} more may be: ${flat ? "flat" : "GROWS"}`;
}
