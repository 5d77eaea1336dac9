// The sentences the page says, chosen. Pure: a state in, words out; the sentences themselves are in lang/.

import { phase, taking } from "./call.js";
import { isMissed } from "./past.js";

/** @typedef {import("./language.js").Say} Say */

const ENDED = [
  "no-answer", "declined", "hung-up", "peer-gone", "unreached", "visitor", "control", "too-long", "cannot-join", "shutdown",
  "quiet",
  "you-hung-up", "you-declined", "answered-elsewhere", "taken-over", "not-taken", "door-left", "ended",
];
const REFUSED = [
  "invalid_token", "channel_not_authorized", "channel_reserved", "invalid_channel", "action_not_permitted",
  "account_suspended", "kicked", "insecure", "unusable",
];
const UNOPENED = [
  "not-wired", "nobody", "not-talking", "wrong", "expired", "locked-out", "open", "resting", "stopping", "no-answer", "unsent",
];
const UNSHOWN = ["nobody", "wrong", "expired", "locked-out", "busy", "stopping", "no-answer", "unsent", "line"];
const MOST_TEXT = 120;
const MOST_NAME = 32;

/** Why a call ended, as a sentence. @param {Say} say */
export function endWords(say, cause, name = null) {
  return say(`end-${ENDED.includes(cause) ? cause : "ended"}`, { name: name ?? say("someone") });
}

/** Why the line was refused, as a sentence. @param {Say} say @param {string} kind see line.js */
export function refusedWords(say, kind) {
  return say(`refused-${REFUSED.includes(kind) ? kind : "other"}`);
}

/** Why the line is down and what follows. @param {Say} say */
export function downWords(say, { lineKind, lineSeconds }) {
  const again = lineSeconds > 0 ? say("downAgain", { n: lineSeconds }) : say("downNow");
  return `${say(`down-${lineKind || "dropped"}`)} ${again}`;
}

/** What the visitor gets from this phone. @param {Say} say @param {{video: string, audio: string, trouble: string}} media */
export function mediaWords(say, { video, audio, trouble }) {
  return say(trouble ? `media-${trouble}` : `visitor-${video}-${audio}`);
}

/**
 * Headline and detail for the status region.
 *
 * @param {Say} say @param {import("./call.js").State} state
 * @param {{video: string, audio: string, trouble: string}} media
 * @param {{audible: boolean, awake: boolean}} ready whether a ring would be heard
 */
export function statusWords(say, state, media, ready = { audible: true, awake: true }) {
  const { call } = state;
  switch (phase(state)) {
    case "setup":
      return { head: say("setupHead"), detail: say("setupDetail") };
    case "connecting":
      return { head: say("connectingHead"), detail: say(call ? "connectingCall" : "connectingDetail") };
    case "armed":
      return isReady(ready) ? { head: say("armedHead"), detail: say("armedDetail") } : { head: say("partlyHead"), detail: say("partlyDetail") };
    case "ringing":
      return { head: say("ringingHead"), detail: supplyWords(say, call) || say("ringingDetail") };
    case "talking":
      return { head: say(talkHead(state)), detail: supplyWords(say, call) || talkDetail(say, call, media) };
    case "reconnecting":
      return { head: say("reconnectingHead"), detail: state.line === "down" ? downWords(say, state) : say("reconnectingDetail") };
    case "refused":
      return { head: say("refusedHead"), detail: refusedWords(say, state.lineKind) };
    default:
      return { head: say("endedHead"), detail: endWords(say, state.ended.cause, state.ended.name) };
  }
}

/** Whether a ring of the bell would reach the person. */
export function isReady({ audible, awake }) {
  return audible && awake;
}

/** How long ago the press was, and where else it rings; not for the live region, since it changes each second. */
export function ageWords(say, { pressedAt, ringingAt }, at) {
  const words = [];
  if (pressedAt !== null) {
    const seconds = Math.max(0, Math.round((at - pressedAt) / 1000));
    words.push(seconds < 60 ? say("rangSeconds", { n: seconds }) : say("rangMinutes", { n: Math.floor(seconds / 60) }));
  }
  if (ringingAt > 1) words.push(say("alsoRings", { n: ringingAt - 1 }));
  return words.join(" · ");
}

/** Who talks, for those who do not. @param {Say} say @param {import("./call.js").Other} other */
export function otherWords(say, other) {
  return capital(say("otherTalks", { name: other.name ?? say("someone") }));
}

/** How opening the door went. @param {Say} say @param {import("./opening.js").Opening} opening @param {string|null} me the person of this link */
export function openingWords(say, opening, me) {
  switch (opening.step) {
    case "asked":
    case "proved":
      return say("openAsking");
    case "opened": {
      const n = Math.max(1, Math.round(opening.forMs / 1000));
      if (me !== null && opening.by === me) return say("openedYou", { n });
      return capital(say("openedBy", { n, name: opening.by ?? say("someone") }));
    }
    case "refused":
      return say(`open-${UNOPENED.includes(opening.why) ? opening.why : "other"}`);
    default:
      return "";
  }
}

/** What the sheet of the camera says. @param {Say} say @param {import("./looking.js").Look} look */
export function lookWords(say, look) {
  switch (look.step) {
    case "asking":
    case "proved":
      return say("lookAsking");
    case "looking":
      return say("lookOn");
    case "over":
      return say("lookOver");
    case "refused":
      return say(`look-${UNSHOWN.includes(look.why) ? look.why : "other"}`);
    default:
      return "";
  }
}

/** What became of a past call. @param {Say} say @param {import("./past.js").Past} past @param {string|null} present */
export function pastWords(say, past, present = null) {
  const words = [pastHead(say, past, present)];
  if (past.opened) words.push(say("pastOpened", { name: past.opened }));
  if (past.heard === "door") words.push(say("pastFromDoor"));
  return words.join(" · ");
}

function pastHead(say, past, present) {
  if (past.call === present) return say("pastNow");
  if (isMissed(past)) return say("pastMissed");
  if (past.answered === "you") return say("pastYou");
  if (past.answered === "other") return say("pastOther", { name: past.name ?? say("someone") });
  return say("pastDeclined");
}

/** After the page was frozen: for how long, until when. @param {Say} say @param {{ms: number, until: string}} slept */
export function sleptWords(say, { ms, until }) {
  const seconds = Math.round(ms / 1000);
  const gaps = { time: until };
  return seconds < 120 ? say("sleptSeconds", { ...gaps, n: seconds }) : say("sleptMinutes", { ...gaps, n: Math.round(seconds / 60) });
}

/** A text as the door takes it: one line of 1 to 120 characters; null when nothing is left. */
export function lineOfText(text) {
  return shortened(text, MOST_TEXT);
}

/** A name as the door takes it: 1 to 32 characters; null when nothing is left. */
export function personName(text) {
  return shortened(text ?? "", MOST_NAME);
}

function shortened(text, most) {
  const line = [...text.replace(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, " ").trim()].slice(0, most).join("").trim();
  return line === "" ? null : line;
}

function talkHead(state) {
  if (taking(state)) return "takingHead";
  if (!state.call.confirmed) return "answeringHead";
  return state.call.how === "join" ? "joinedHead" : "talkingHead";
}

function talkDetail(say, call, media) {
  if (call.how === "join" && call.confirmed && !media.trouble) return say("joinedDetail", { name: call.name ?? say("someone") });
  return mediaWords(say, media);
}

function supplyWords(say, { supply }) {
  return supply === "full" ? "" : say(`supply-${supply}`);
}

function capital(sentence) {
  return sentence.charAt(0).toLocaleUpperCase() + sentence.slice(1);
}
