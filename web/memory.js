// What is kept of the last calls, so that a late, doubled or repeated message changes nothing.
// Pure: a list in, a list out.

/**
 * @typedef {object} Known
 * @property {string} call
 * @property {number} seq the highest the door has sent; 0 from a door that does not count
 * @property {number} heardAt when its first message came, by the clock of the events' `at`
 * @property {"open"|"dismissed"|"over"} fate dismissed: this person is done with it, others may not be
 */

/** More calls than can be under way or late at a time. */
const MOST_CALLS = 32;

/** Whether a notice says nothing new: overtaken by a later one, or of a call that is over. */
export function isStale(memory, { call, seq }) {
  const known = find(memory, call);
  return known !== undefined && (known.fate === "over" || (seq !== null && seq < known.seq));
}

/** The memory after a notice that is not stale. */
export function remember(memory, { call, seq, stage }, at) {
  if (call === null) return memory;
  const known = find(memory, call) ?? { call, seq: 0, heardAt: at, fate: "open" };
  const now = { ...known, seq: seq ?? known.seq, fate: stage === "ended" ? "over" : known.fate };
  return [...memory.filter((other) => other.call !== call), now].slice(-MOST_CALLS);
}

/** The memory after this person is done with the call. */
export function calledOff(memory, call) {
  return memory.map((known) => (known.call === call && known.fate === "open" ? { ...known, fate: "dismissed" } : known));
}

/** @returns {"open"|"dismissed"|"over"|null} */
export function fate(memory, call) {
  return find(memory, call)?.fate ?? null;
}

/** @returns {number|null} */
export function heardAt(memory, call) {
  return find(memory, call)?.heardAt ?? null;
}

function find(memory, call) {
  return call === null ? undefined : memory.find((known) => known.call === call);
}
