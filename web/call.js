// What this page knows about the line and the call, and what follows from it.
// Pure: one state and one event in, the next state out. No clock, no screen, no sound, no network;
// everything that rings, sends or films is derived from the state by answer.js.

/**
 * @typedef {"setup"|"connecting"|"armed"|"ringing"|"talking"|"reconnecting"|"refused"|"ended"} Phase
 *
 * @typedef {object} Call
 * @property {string|null} id the door's name for the call; null while only its picture has been seen
 * @property {string|null} door peer id of the door; null while the door is away and expected back
 * @property {"ringing"|"talking"} stage talking begins with the tap on Answer
 * @property {boolean} confirmed the door has said that it is us it talks with
 * @property {"fine"|"repairing"} path how the media connection to the door is doing
 * @property {Supply} supply how much of the picture the door sends at present
 *
 * @typedef {"full"|"keyframes"|"paused"|"waiting"} Supply all of it, stills, sound only; or this phone waits
 *   because the door serves as many as it can
 *
 * @typedef {object} State
 * @property {"off"|"connecting"|"up"|"down"|"refused"} line
 * @property {string} lineText the cause in the SDK's words, for refused and down
 * @property {string} lineKind which refusal it is, see line.js
 * @property {string[]} own every id this page has had; the door may still name an old one
 * @property {Object<string, {call: string|null, stage: string}>} doors doors in the channel
 * @property {Call|null} call
 * @property {{door: string|null, call: string|null}|null} dismissed the ring this person is done with
 * @property {{cause: string, call: string|null}|null} ended what to tell about the last call
 * @property {boolean} busy somebody else is talking at the door
 */

/** The stream id that marks the door's own picture and sound. */
export const DOOR_STREAM = "intercomd";
/** Former own ids that are remembered: more than one call can outlive. */
const MOST_IDS = 32;

/** @returns {State} */
export function start() {
  return { line: "off", lineText: "", lineKind: "", own: [], doors: {}, call: null, dismissed: null, ended: null, busy: false };
}

/** The one word for where things stand; also `data-state` of the page. @returns {Phase} */
export function phase(state) {
  if (state.line === "off") return "setup";
  if (state.line === "refused") return "refused";
  if (state.line === "connecting") return "connecting";
  if (state.line === "down") return "reconnecting";
  if (state.call) {
    if (state.call.stage === "ringing") return "ringing";
    return state.call.door === null || state.call.path === "repairing" ? "reconnecting" : "talking";
  }
  return state.ended ? "ended" : "armed";
}

/** Whether a talk goes on without anybody knowing whether the door is still there. */
export function adrift(state) {
  return state.call?.stage === "talking" && (state.call.door === null || state.line !== "up");
}

/**
 * Reads application data from the channel (door protocol, version 1).
 * Anything else, unknown types and newer versions give null.
 */
export function readNotice(data) {
  if (typeof data !== "object" || data === null || data.intercomd !== 1 || data.type !== "call") return null;
  if (!["ringing", "talking", "ended"].includes(data.stage)) return null;
  const text = (value) => (typeof value === "string" ? value : null);
  return { call: text(data.call), stage: data.stage, answeredBy: text(data.answered_by), cause: text(data.cause) };
}

/** Reads how much of the picture the door sends, from application data; null for anything else. @returns {Supply|null} */
export function readSupply(data) {
  if (typeof data !== "object" || data === null || data.intercomd !== 1) return null;
  if (data.type === "full") return "waiting";
  return data.type === "video" && ["full", "keyframes", "paused"].includes(data.mode) ? data.mode : null;
}

/** @returns {State} the state after the event; the same object when nothing changed */
export function next(state, event) {
  switch (event.type) {
    case "line":
      return line(state, event);
    case "notice":
      return notice(state, event.from, event.notice);
    case "door-stream":
      return doorStream(state, event.from);
    case "peer-left":
      return peerLeft(state, event.from);
    case "path":
      return path(state, event);
    case "supply":
      return supply(state, event);
    case "answer":
      if (state.call?.stage !== "ringing") return state;
      return { ...state, call: { ...state.call, stage: "talking" } };
    case "hangup":
      if (!state.call) return state;
      return finish(state, state.call.stage === "ringing" ? "you-declined" : "you-hung-up");
    case "door-lost":
      return adrift(state) ? finish(state, "door-left") : state;
    case "seen":
      return state.ended ? { ...state, ended: null } : state;
    default:
      return state;
  }
}

function line(state, { line, text = "", kind = "", own }) {
  const after = { ...state, line, lineText: text, lineKind: kind };
  if (own && !state.own.includes(own)) after.own = [...state.own, own].slice(-MOST_IDS);
  if (line === "refused") return { ...after, doors: {}, call: null, ended: null, busy: false };
  if (line === "connecting") {
    // A fresh attachment knows nobody yet. A talk is kept: its door is expected back.
    after.doors = {};
    after.busy = false;
    after.call = state.call?.stage === "talking" ? { ...state.call, door: null } : null;
  }
  return after;
}

function notice(state, from, said) {
  const doors = { ...state.doors, [from]: { call: said.call, stage: said.stage } };
  const known = { ...state, doors };
  switch (said.stage) {
    case "ringing":
      return rings({ ...known, busy: false }, from, said.call);
    case "talking":
      return talks(known, from, said);
    default:
      return ends(known, from, said);
  }
}

function rings(state, from, id) {
  const { call } = state;
  if (call && sameCall(call.id, id)) {
    // A door that comes back still ringing has not heard our answer: keep talking, it is sent again.
    return { ...state, call: { ...atDoor(call, from), id } };
  }
  if (isDismissed(state, from, id)) return state;
  return { ...state, call: { id, door: from, stage: "ringing", confirmed: false, path: "fine", supply: "full" }, ended: null, dismissed: null };
}

function talks(state, from, { call: id, answeredBy }) {
  const { call } = state;
  const mine = answeredBy !== null && state.own.includes(answeredBy);
  if (mine) {
    if (call?.stage !== "talking" || !sameCall(call.id, id)) return state;
    return { ...state, busy: false, call: { ...atDoor(call, from), id, confirmed: true } };
  }
  const ours = call && (call.door === from || call.door === null) && sameCall(call.id, id);
  if (ours && answeredBy === null && call.stage === "talking") return state;
  if (ours) return { ...finish({ ...state, call: { ...call, door: from } }, "answered-elsewhere"), busy: true };
  return { ...state, busy: true };
}

function ends(state, from, { call: id, cause }) {
  const after = { ...state, busy: false };
  if (state.dismissed?.door === from) after.dismissed = null;
  const { call } = state;
  if (!call || (call.door !== null && call.door !== from) || !sameCall(call.id, id)) return after;
  return { ...after, call: null, ended: { cause: cause ?? "ended", call: id ?? call.id } };
}

function doorStream(state, from) {
  // The notice says more than the picture; the picture alone counts only for a door that never spoke.
  if (state.doors[from]) return state;
  return rings({ ...state, doors: { ...state.doors, [from]: { call: null, stage: "ringing" } } }, from, null);
}

function peerLeft(state, from) {
  if (!state.doors[from]) return state;
  const doors = { ...state.doors };
  delete doors[from];
  const after = { ...state, doors, busy: false };
  if (state.call?.door !== from) return after;
  if (state.call.stage === "talking") return { ...after, call: { ...state.call, door: null } };
  return { ...after, call: null, ended: { cause: "door-left", call: state.call.id } };
}

function path(state, { from, path }) {
  if (state.call?.door !== from) return state;
  // Whoever is connected does not wait for a place any more.
  const supply = path === "fine" && state.call.supply === "waiting" ? "full" : state.call.supply;
  if (state.call.path === path && state.call.supply === supply) return state;
  return { ...state, call: { ...state.call, path, supply } };
}

function supply(state, { from, supply }) {
  if (state.call?.door !== from || state.call.supply === supply) return state;
  return { ...state, call: { ...state.call, supply } };
}

function finish(state, cause) {
  const { door, id } = state.call;
  return { ...state, call: null, dismissed: { door, call: id }, ended: { cause, call: id } };
}

// A door that came back under another id has a new connection, about which nothing bad is known.
function atDoor(call, from) {
  return call.door === from ? call : { ...call, door: from, path: "fine", supply: "full" };
}

// A call seen only as a picture has no name yet, so it matches whatever its door calls it.
function sameCall(a, b) {
  return a === b || a === null || b === null;
}

function isDismissed(state, from, id) {
  const { dismissed } = state;
  if (!dismissed) return false;
  if (dismissed.call !== null && id !== null) return dismissed.call === id;
  return dismissed.door === from;
}
