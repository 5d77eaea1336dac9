// How good the connection to the door is, in three steps, from what WebRTC counts. Pure: numbers in, a word out.

/** @typedef {{lost: number, received: number, decoded: number, rttMs: number|null, at: number}} Sample counters since the start; `at` in ms */
/** @typedef {"good"|"weak"|"very-weak"} Quality */

const WEAK = { loss: 0.03, rttMs: 350, fps: 7 };
const VERY_WEAK = { loss: 0.1, rttMs: 800, fps: 2 };
const LEVELS = ["good", "weak", "very-weak"];

/** Sums up an RTCStatsReport. @param {Iterable<object>} reports @returns {Sample} */
export function sample(reports, at) {
  const sum = { lost: 0, received: 0, decoded: 0, rttMs: null, at };
  for (const report of reports) {
    if (report.type === "inbound-rtp") {
      sum.lost += Math.max(0, report.packetsLost ?? 0);
      sum.received += report.packetsReceived ?? 0;
      sum.decoded += report.framesDecoded ?? 0;
    }
    // Only the pair in use has been answered lately; the others keep the round trip of their one check.
    if (report.type === "candidate-pair" && report.nominated && report.state === "succeeded" && report.currentRoundTripTime !== undefined) {
      sum.rttMs = report.currentRoundTripTime * 1000;
    }
  }
  return sum;
}

/**
 * @param {Sample} before @param {Sample} now
 * @param {import("./call.js").Supply} supply what the door sends: few pictures are no fault where it sends few
 * @returns {Quality|null} null when the counters began anew
 */
export function judge(before, now, supply) {
  const seconds = (now.at - before.at) / 1000;
  const received = now.received - before.received;
  const lost = Math.max(0, now.lost - before.lost);
  if (seconds <= 0 || received < 0 || now.decoded < before.decoded) return null;
  const share = received + lost === 0 ? 1 : lost / (received + lost);
  const fps = supply === "full" && now.decoded > 0 ? (now.decoded - before.decoded) / seconds : Infinity;
  const seen = { share, fps, rttMs: now.rttMs ?? 0 };
  // The door holds pictures back only where the network makes it.
  const forced = { full: 0, keyframes: 1, paused: 2, waiting: 0 }[supply];
  const level = worse(seen, VERY_WEAK) ? 2 : worse(seen, WEAK) ? 1 : 0;
  return LEVELS[Math.max(level, forced)];
}

function worse({ share, fps, rttMs }, bounds) {
  return share > bounds.loss || rttMs > bounds.rttMs || fps < bounds.fps;
}

/** Says a new word only when it was found twice in a row, so that it does not flicker. */
export class Steady {
  #said = null;
  #last = null;

  /** @param {Quality|null} found @returns {Quality|null} */
  take(found) {
    if (found === null) return this.#said;
    if (this.#said === null || found === this.#last) this.#said = found;
    this.#last = found;
    return this.#said;
  }
}
