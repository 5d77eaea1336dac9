// The list of past calls: what this page heard itself, and what the door's log adds. Pure: a list in, a list out,
// newest first. Keeping it is store.js' business, painting it view-past.js'.

/**
 * @typedef {object} Past
 * @property {string} call
 * @property {number} at unix time of the press, in ms
 * @property {string|null} outcome a cause of the door protocol or of call.js; null while the call goes on
 * @property {"nobody"|"you"|"other"} answered
 * @property {string|null} name of the other one who answered
 * @property {string|null} opened who opened the door
 * @property {string|null} picture a small JPEG as a data URL
 * @property {"page"|"door"} heard from whom this entry is
 */

export const MOST_PAST = 20;
/** Ends of a call that nobody took that are nobody's neglect. */
const NOT_MISSED = new Set(["declined", "you-declined", "you-hung-up", "hung-up"]);

/** Whether a visitor stood there in vain. @param {Past} past @param {string|null} present the call that goes on */
export function isMissed(past, present = null) {
  if (past.outcome === "unreached") return true;
  return past.answered === "nobody" && past.call !== present && !NOT_MISSED.has(past.outcome);
}

/**
 * What a step of the call's state adds.
 *
 * @param {Past[]} list
 * @param {import("./call.js").State} before @param {import("./call.js").State} after
 * @param {{wall: number, at: number}} now unix ms, and the events' clock
 */
export function followed(list, before, after, { wall, at }) {
  let kept = list;
  const add = (call, more) => (kept = put(kept, call, more, wall));
  const when = (pressedAt) => (pressedAt === null || pressedAt === undefined ? {} : { at: Math.round(wall - Math.max(0, at - pressedAt)) });
  const { call, other, ended } = after;
  if (call?.id && (before.call?.id !== call.id || before.call.stage !== call.stage)) {
    const mine = call.stage === "talking" ? { answered: "you", outcome: null } : { outcome: null };
    add(call.id, { ...(find(kept, call.id) ? {} : when(call.pressedAt)), ...mine });
  }
  if (other?.call && (before.other?.call !== other.call || before.other.name !== other.name)) {
    const known = find(kept, other.call);
    // Who talked here before it was taken over has answered it all the same.
    const answered = known?.answered === "you" ? {} : { answered: "other", name: other.name };
    add(other.call, { ...(known ? {} : when(other.pressedAt)), ...answered });
  }
  if (ended?.call && ended !== before.ended) add(ended.call, { outcome: ended.cause });
  return kept;
}

/** Adds the visitor's picture to a call that is in the list. */
export function pictured(list, call, picture) {
  return find(list, call) ? put(list, call, { picture }, 0) : list;
}

/** Adds who opened the door to a call that is in the list. */
export function openedBy(list, call, name) {
  return find(list, call) ? put(list, call, { opened: name }, 0) : list;
}

/**
 * Adds the door's own log. What this page saw itself stays; what it slept through comes new.
 *
 * @param {number} since entries up to this unix time (ms) were cleared by the person and stay away
 */
export function logged(list, entries, since = 0) {
  let kept = list;
  for (const entry of entries) {
    const known = find(kept, entry.call);
    if (!known && entry.at <= since) continue;
    const answered = entry.answeredBy === null ? {} : { answered: "other", name: entry.answeredBy };
    const more = known
      ? { outcome: known.outcome ?? entry.outcome, opened: known.opened ?? entry.openedBy, ...(known.answered === "nobody" ? answered : {}) }
      : { at: entry.at, outcome: entry.outcome, opened: entry.openedBy, heard: "door", ...answered };
    kept = put(kept, entry.call, more, entry.at);
  }
  return kept;
}

/** The list read from a store, where anybody may have written anything. @returns {Past[]} */
export function readPast(value) {
  if (!Array.isArray(value)) return [];
  const text = (found) => (typeof found === "string" ? found : null);
  return value
    .filter((past) => typeof past === "object" && past !== null && typeof past.call === "string" && Number.isFinite(past.at))
    .map((past) => ({
      call: past.call,
      at: past.at,
      outcome: text(past.outcome),
      answered: ["you", "other"].includes(past.answered) ? past.answered : "nobody",
      name: text(past.name),
      opened: text(past.opened),
      picture: text(past.picture)?.startsWith("data:image/jpeg;base64,") ? past.picture : null,
      heard: past.heard === "door" ? "door" : "page",
    }))
    .sort((one, two) => two.at - one.at)
    .slice(0, MOST_PAST);
}

function put(list, call, more, wall) {
  const blank = { call, at: wall, outcome: null, answered: "nobody", name: null, opened: null, picture: null, heard: "page" };
  const now = { ...(find(list, call) ?? blank), ...more };
  return [...list.filter((past) => past.call !== call), now].sort((one, two) => two.at - one.at).slice(0, MOST_PAST);
}

function find(list, call) {
  return list.find((past) => past.call === call);
}
