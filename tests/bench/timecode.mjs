// A clock drawn into the picture, so that whoever sees it knows how old it is. Twenty squares in the top row, black
// or white: sixteen bits of milliseconds and a check. Pure; runs in Node and in pages. `camera.py` draws the same.

/** Squares from left to right. */
export const SQUARES = 20;
/** The squares are as high as they are wide at 640 pixels: this share of the picture's height at 4:3. */
export const ROW_SHARE = 32 / 480;
/** The clock begins anew after so many milliseconds. */
export const ROUND_MS = 65_536;

/** A false read of a damaged row passes for one in sixteen. */
function check(clock) {
  return (clock ^ (clock >> 4) ^ (clock >> 8) ^ (clock >> 12) ^ 0b0101) & 15;
}

/** The squares of a time in milliseconds, true for white. */
export function squares(ms) {
  const clock = Math.floor(ms) % ROUND_MS;
  const word = clock * 16 + check(clock);
  return Array.from({ length: SQUARES }, (_, n) => Math.floor(word / 2 ** (SQUARES - 1 - n)) % 2 === 1);
}

/**
 * How old a picture is.
 *
 * @param {number[]} lumas brightness of the middles of the squares, 0 to 255
 * @param {number} now the time in milliseconds
 * @returns {number|null} its age in milliseconds, or null if this is no clear row of ours
 */
export function age(lumas, now) {
  if (lumas.length !== SQUARES || lumas.some((luma) => luma > 90 && luma < 165)) return null;
  const word = lumas.reduce((word, luma) => word * 2 + (luma >= 165 ? 1 : 0), 0);
  const clock = Math.floor(word / 16);
  if (word % 16 !== check(clock)) return null;
  return (Math.floor(now) - clock + 2 * ROUND_MS) % ROUND_MS;
}
