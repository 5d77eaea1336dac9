// Reads what arrives from the channel: the door's half of the door protocol, version 1.
// Pure: a message of anybody in, one checked event for call.js and its neighbours out, or null. Whatever is not
// exactly as docs/door-protocol.md has it is ignored here, so that nobody behind has to doubt it again.

const STAGES = ["ringing", "talking", "ended"];
const MODES = ["full", "keyframes", "paused"];
const PURPOSES = ["open", "log", "look", "wake"];
/** The visitor's picture, decoded. */
const MOST_PICTURE_BYTES = 40 * 1024;
/** A JPEG begins with FF D8 FF, which is this in base64. */
const JPEG_MAGIC = "/9j/";
const MOST_NAME = 32;
const MOST_ENTRIES = 50;
const MOST_OPEN_MS = 60_000;
const MOST_LOOK_MS = 600_000;

/**
 * @typedef {object} Notice where the call stands, by the door's word
 * @property {string|null} call
 * @property {number|null} seq null from a door that does not count
 * @property {"ringing"|"talking"|"ended"} stage
 * @property {number|null} ageMs since the press
 * @property {number} ringingAt pages that said that they ring
 * @property {string|null} answeredBy
 * @property {string|null} answeredName
 * @property {string[]} may
 * @property {string|null} cause
 */

/** The event in a message of the channel, without its sender; null for everything that is not the door's. */
export function readMessage(data) {
  if (typeof data !== "object" || data === null || data.intercomd !== 1) return null;
  const read = READERS[data.type];
  return read === undefined ? null : read(data);
}

const READERS = Object.assign(Object.create(null), { call: notice, video, full: () => ({ type: "supply", supply: "waiting" }), picture, challenge, opened, refused, log, looking, "look-over": lookOver, "will-wake": willWake });

function notice(data) {
  if (!STAGES.includes(data.stage)) return null;
  return {
    type: "notice",
    notice: {
      call: text(data.call),
      seq: whole(data.seq),
      stage: data.stage,
      ageMs: whole(data.age_ms),
      ringingAt: whole(data.ringing_at) ?? 0,
      answeredBy: text(data.answered_by),
      answeredName: name(data.answered_name),
      may: Array.isArray(data.may) ? data.may.filter((word) => typeof word === "string") : [],
      cause: text(data.cause),
    },
  };
}

function video(data) {
  return MODES.includes(data.mode) ? { type: "supply", supply: data.mode } : null;
}

function picture(data) {
  const { jpeg } = data;
  if (text(data.call) === null || typeof jpeg !== "string" || !jpeg.startsWith(JPEG_MAGIC) || jpeg.length % 4 !== 0) return null;
  const padding = jpeg.endsWith("==") ? 2 : jpeg.endsWith("=") ? 1 : 0;
  if ((jpeg.length / 4) * 3 - padding > MOST_PICTURE_BYTES || !/^[A-Za-z0-9+/]+={0,2}$/.test(jpeg)) return null;
  return { type: "picture", call: data.call, url: `data:image/jpeg;base64,${jpeg}` };
}

function challenge(data) {
  if (!asked(data) || typeof data.nonce !== "string" || !/^[0-9a-f]{64}$/.test(data.nonce)) return null;
  return { type: "challenge", call: data.call, purpose: data.purpose, nonce: data.nonce };
}

function opened(data) {
  const forMs = whole(data.for_ms);
  if (text(data.call) === null || forMs === null) return null;
  return { type: "opened", call: data.call, forMs: Math.min(forMs, MOST_OPEN_MS), by: name(data.by) };
}

function looking(data) {
  const forMs = whole(data.for_ms);
  return text(data.call) === null || forMs === null ? null : { type: "looking", call: data.call, forMs: Math.min(forMs, MOST_LOOK_MS) };
}

function lookOver(data) {
  return text(data.call) === null ? null : { type: "look-over", call: data.call };
}

function willWake(data) {
  return text(data.call) === null ? null : { type: "will-wake", call: data.call };
}

function refused(data) {
  if (!asked(data) || text(data.why) === null) return null;
  return { type: "refused", call: data.call, purpose: data.purpose, why: data.why };
}

function log(data) {
  if (text(data.call) === null || !Array.isArray(data.entries)) return null;
  return { type: "log", call: data.call, entries: data.entries.slice(0, MOST_ENTRIES).map(entry).filter((found) => found !== null) };
}

function entry(data) {
  if (typeof data !== "object" || data === null || text(data.call) === null || text(data.outcome) === null) return null;
  const seconds = whole(data.at);
  if (seconds === null) return null;
  return {
    call: data.call,
    at: seconds * 1000,
    outcome: data.outcome,
    answeredBy: name(data.answered_by),
    openedBy: name(data.opened_by),
    talkSeconds: whole(data.talk_s) ?? 0,
  };
}

function asked(data) {
  return text(data.call) !== null && PURPOSES.includes(data.purpose);
}

function text(value) {
  return typeof value === "string" ? value : null;
}

function whole(value) {
  return Number.isSafeInteger(value) && value >= 0 ? value : null;
}

// Written by somebody else of the channel: short, on one line, and without letters that turn the rest around.
function name(value) {
  if (typeof value !== "string") return null;
  const plain = value.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, " ").trim();
  return plain === "" ? null : [...plain].slice(0, MOST_NAME).join("");
}
