// What this page knows about the line and the call, and what follows from it.
// Pure: one state and one event in, the next state out. No clock, no screen, no sound, no network;
// everything that rings, sends or films is derived from the state by answer.js.

import { calledOff, fate, heardAt, isStale, remember } from "./memory.js";

/**
 * @typedef {"setup"|"connecting"|"armed"|"ringing"|"talking"|"reconnecting"|"refused"|"ended"} Phase
 *
 * @typedef {object} Call
 * @property {string|null} id the door's name for the call; null while only its picture has been seen
 * @property {string|null} door peer id of the door; null while the door is away and expected back
 * @property {"ringing"|"talking"} stage talking begins with the tap on Answer, Take or Join
 * @property {"answer"|"take"|"join"} how this page came to talk, or would
 * @property {boolean} confirmed the door has said that it is us it talks with
 * @property {"fine"|"repairing"} path how the media connection to the door is doing
 * @property {Supply} supply how much of the picture the door sends at present
 * @property {number|null} pressedAt when the button was pressed, by the clock of the events' `at`
 * @property {number|null} heardAt when this page heard of the call first, by the same clock
 * @property {number} ringingAt how many pages ring
 * @property {string[]} may what pages may do besides answering
 * @property {string|null} name what the one whom the door sees is called, if anything
 *
 * @typedef {"full"|"keyframes"|"paused"|"waiting"} Supply all of it, stills, sound only; or this phone waits
 *   because the door serves as many as it can
 *
 * @typedef {{door: string, call: string|null, name: string|null, may: string[], pressedAt: number|null}} Other
 *   a call in which somebody else talks
 *
 * @typedef {object} State
 * @property {"off"|"connecting"|"up"|"down"|"refused"} line
 * @property {string} lineText the cause in the SDK's words, for refused and down
 * @property {string} lineKind which refusal or failure it is, see line.js
 * @property {number} lineSeconds until the next try, for down; 0 when the SDK tries by itself
 * @property {string[]} own every id this page has had; the door may still name an old one
 * @property {Object<string, {call: string|null, stage: string}>} doors doors in the channel
 * @property {Call|null} call
 * @property {Other|null} other
 * @property {import("./memory.js").Known[]} memory of the last calls
 * @property {{door: string|null, call: string|null}|null} dismissed the ring this person is done with
 * @property {{call: string, how: "answer"|"join"}|null} resume the talk this page was in before it was loaded again
 * @property {{cause: string, call: string|null, name: string|null}|null} ended what to tell about the last call
 */

/** The stream id that marks the door's own picture and sound. */
export const DOOR_STREAM = "intercomd";
/** Former own ids that are remembered: more than one call can outlive. */
const MOST_IDS = 32;

/** @param {{call: string, how: string, own: string[]}|null} [before] the talk before this page was loaded again @returns {State} */
export function start(before = null) {
  return {
    line: "off",
    lineText: "",
    lineKind: "",
    lineSeconds: 0,
    own: before?.own.slice(-MOST_IDS) ?? [],
    doors: {},
    call: null,
    other: null,
    memory: [],
    dismissed: null,
    resume: before && { call: before.call, how: before.how === "join" ? "join" : "answer" },
    ended: null,
  };
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

/** Whether the call was asked for and the door has not given it yet. */
export function taking(state) {
  return state.call?.how === "take" && !state.call.confirmed;
}

/**
 * Where a message for the door goes that needs no talk: the call of this page, or the one of somebody else.
 * @returns {{door: string, call: string|null, may: string[]}|null}
 */
export function reachable(state) {
  if (state.line !== "up") return null;
  if (state.call) return state.call.door === null ? null : { door: state.call.door, call: state.call.id, may: state.call.may };
  return state.other;
}

/** @returns {State} the state after the event; the same object when nothing changed */
export function next(state, event) {
  switch (event.type) {
    case "line":
      return line(state, event);
    case "notice":
      return notice(state, event);
    case "door-stream":
      return doorStream(state, event);
    case "peer-left":
      return peerLeft(state, event.from);
    case "path":
      return path(state, event);
    case "supply":
      return supply(state, event);
    case "answer":
      if (state.call?.stage !== "ringing") return state;
      return { ...state, call: { ...state.call, stage: "talking" } };
    case "take":
    case "join":
      return enter(state, event.type);
    case "not-taken":
      return taking(state) ? finish(state, "not-taken") : state;
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

function line(state, { line, text = "", kind = "", seconds = 0, own }) {
  const after = { ...state, line, lineText: text, lineKind: kind, lineSeconds: seconds };
  if (own && !state.own.includes(own)) after.own = [...state.own, own].slice(-MOST_IDS);
  if (line === "refused") return { ...after, doors: {}, call: null, ended: null, other: null };
  if (line === "connecting") {
    // A fresh attachment knows nobody yet. A talk is kept: its door is expected back.
    after.doors = {};
    after.other = null;
    after.call = state.call?.stage === "talking" ? { ...state.call, door: null } : null;
  }
  return after;
}

function notice(state, { from, notice: said, at = 0 }) {
  if (isStale(state.memory, said)) return state;
  const doors = { ...state.doors, [from]: { call: said.call, stage: said.stage } };
  const known = { ...state, doors, memory: remember(state.memory, said, at), resume: null };
  if (resumes(state, said)) {
    const call = { ...fresh(known, from, said, at), stage: "talking", how: state.resume.how };
    return { ...known, other: null, ended: null, call };
  }
  switch (said.stage) {
    case "ringing":
      return rings(known, from, said, at);
    case "talking":
      return talks(known, from, said, at);
    default:
      return ends(known, from, said);
  }
}

// The door still waits for this page, or has not missed it yet.
function resumes({ resume, call, own }, { call: id, stage, answeredBy }) {
  if (resume === null || call !== null || resume.call !== id || stage === "ended") return false;
  return resume.how === "join" || answeredBy === null || own.includes(answeredBy);
}

function rings(state, from, said, at) {
  const { call } = state;
  const after = state.other?.door === from ? { ...state, other: null } : state;
  if (call && sameCall(call.id, said.call)) {
    // A door that comes back still ringing has not heard our answer: keep talking, it is sent again.
    return { ...after, call: { ...atDoor(call, from), ...facts(call, said, at) } };
  }
  if (isDismissed(state, from, said.call)) return after;
  // Whoever talks at one door is not torn away by another.
  if (call?.stage === "talking" && call.door !== null && call.door !== from) return after;
  return { ...after, call: fresh(after, from, said, at), ended: null, dismissed: null };
}

function talks(state, from, said, at) {
  const { call } = state;
  const mine = said.answeredBy !== null && state.own.includes(said.answeredBy);
  const ours = call !== null && (call.door === from || call.door === null || mine) && sameCall(call.id, said.call);
  const updated = () => ({ ...atDoor(call, from), ...facts(call, said, at) });
  if (mine) {
    if (!ours || call.stage !== "talking") return state;
    return { ...state, other: null, call: { ...updated(), confirmed: true, how: "answer" } };
  }
  if (ours && call.stage === "talking") {
    if (call.how === "join") return { ...state, call: { ...updated(), confirmed: true } };
    if (said.answeredBy === null || taking(state)) return { ...state, call: updated() };
  }
  const other = { door: from, call: said.call, name: said.answeredName, may: said.may, pressedAt: pressed(said, at) };
  if (ours) {
    const cause = call.confirmed ? "taken-over" : "answered-elsewhere";
    return { ...finish({ ...state, call: { ...call, door: from } }, cause, said.answeredName), other };
  }
  return call?.stage === "talking" ? state : { ...state, other };
}

function ends(state, from, { call: id, cause }) {
  const after = { ...state };
  if (state.other && (state.other.door === from || state.other.call === id)) after.other = null;
  if (state.dismissed?.door === from) after.dismissed = null;
  const { call } = state;
  if (!call || (call.door !== null && call.door !== from) || !sameCall(call.id, id)) return after;
  return { ...after, call: null, ended: { cause: cause ?? "ended", call: id ?? call.id, name: null } };
}

function doorStream(state, { from, at = 0 }) {
  // The notice says more than the picture; the picture alone counts only for a door that never spoke.
  if (state.doors[from]) return state;
  const doors = { ...state.doors, [from]: { call: null, stage: "ringing" } };
  return rings({ ...state, doors }, from, { call: null, ageMs: null, ringingAt: 0, may: [], answeredName: null }, at);
}

function peerLeft(state, from) {
  if (!state.doors[from]) return state;
  const doors = { ...state.doors };
  delete doors[from];
  const after = { ...state, doors };
  if (state.other?.door === from) after.other = null;
  if (state.call?.door !== from) return after;
  if (state.call.stage === "talking") return { ...after, call: { ...state.call, door: null } };
  // Not dismissed: a door also leaves and comes back within a call, and then it rings on.
  return { ...after, call: null, ended: { cause: "door-left", call: state.call.id, name: null } };
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

function enter(state, how) {
  const { other } = state;
  if (state.call || !other || other.call === null || !other.may.includes(how)) return state;
  const { door, call: id, name, may, pressedAt } = other;
  const call = {
    id, door, name, may, pressedAt, how,
    stage: "talking", confirmed: false, path: "fine", supply: "full", heardAt: heardAt(state.memory, id), ringingAt: 0,
  };
  return { ...state, call, other: null, ended: null, dismissed: null };
}

function finish(state, cause, name = null) {
  const { door, id } = state.call;
  const memory = calledOff(state.memory, id);
  return { ...state, call: null, memory, dismissed: { door, call: id }, ended: { cause, call: id, name } };
}

function fresh(state, from, said, at) {
  const call = { id: said.call, door: from, stage: "ringing", how: "answer", confirmed: false, path: "fine", supply: "full" };
  return { ...call, ...facts({ id: said.call, heardAt: heardAt(state.memory, said.call) ?? at }, said, at) };
}

function facts(call, said, at) {
  return {
    id: said.call ?? call.id,
    heardAt: call.heardAt,
    pressedAt: pressed(said, at) ?? call.pressedAt ?? null,
    ringingAt: said.ringingAt,
    may: said.may,
    name: said.answeredName,
  };
}

function pressed({ ageMs }, at) {
  return ageMs === null ? null : at - ageMs;
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
  if (fate(state.memory, id) === "dismissed") return true;
  const { dismissed } = state;
  if (!dismissed) return false;
  if (dismissed.call !== null && id !== null) return dismissed.call === id;
  return dismissed.door === from;
}
