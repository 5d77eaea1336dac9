// How far beeps that come at a steady pace have slid in a recording. Pure.
//
// A recording is counted by the clock of the card that made it. If a player on the same card keeps up with whoever sends
// the beeps, they slide by as much as the card's clock is off; if they do not slide, sound is gathering somewhere.

/** Pace of the beeps of signs.mjs, in seconds. */
const PACE = 0.5;
/** Loudness is looked at in pieces of that many seconds. */
const PIECE = 0.005;
/** Louder is a beep; share of the loudest piece. */
const LOUD = 0.25;
/** That much quiet comes before a beep, in seconds; the gap between two is 0.18 s. */
const QUIET = 0.08;

/**
 * @param {Float32Array} samples one channel
 * @param {number} rate samples per second
 * @returns {number | null} seconds by which the last quarter of the beeps comes later than the pace of the first quarter
 *   would have it; null if there are too few to tell
 */
export function slide(samples, rate) {
  const begins = beginnings(samples, rate);
  const quarter = Math.floor(begins.length / 4);
  if (quarter < 5) return null;
  // A gap in the sound moves all beeps that follow by less than half a pace; so each is counted from its neighbour.
  let count = 0;
  const late = begins.map((at, n) => {
    if (n > 0) count += Math.max(1, Math.round((at - begins[n - 1]) / PACE));
    return at - begins[0] - count * PACE;
  });
  return median(late.slice(-quarter)) - median(late.slice(0, quarter));
}

function beginnings(samples, rate) {
  const size = Math.round(PIECE * rate);
  const levels = [];
  for (let at = 0; at + size <= samples.length; at += size) {
    let energy = 0;
    for (let n = at; n < at + size; n += 1) energy += samples[n] * samples[n];
    levels.push(Math.sqrt(energy / size));
  }
  const loud = levels.reduce((most, level) => Math.max(most, level), 0) * LOUD;
  const found = [];
  let quiet = 0;
  levels.forEach((level, n) => {
    if (level < loud) quiet += PIECE;
    else {
      if (quiet >= QUIET) found.push(n * PIECE);
      quiet = 0;
    }
  });
  return found;
}

function median(numbers) {
  return [...numbers].sort((one, other) => one - other)[Math.floor(numbers.length / 2)];
}
