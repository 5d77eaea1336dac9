// The sentences the page says. Pure: a state in, words out.

import { phase } from "./call.js";

const ENDED = {
  "no-answer": "Nobody answered in time.",
  declined: "The call was declined.",
  "hung-up": "The call was hung up.",
  "peer-gone": "The connection of whoever answered was lost.",
  visitor: "The visitor ended the call.",
  control: "The call was ended at the door station.",
  "too-long": "The call reached its longest allowed time.",
  "cannot-join": "The door station could not reach the line.",
  shutdown: "The door station is being switched off or restarted.",
  "you-hung-up": "You hung up.",
  "you-declined": "You declined. The bell may still ring on other phones.",
  "answered-elsewhere": "Answered by someone else.",
  "door-left": "The connection to the door was lost.",
  ended: "The call is over.",
};

const REFUSED = {
  invalid_token: "The key in your link is not accepted. Ask for a new link.",
  channel_not_authorized: "The key in your link does not open this door's channel. Ask for a new link.",
  channel_reserved: "The channel in your link cannot be used. Ask for a new link.",
  invalid_channel: "The channel in your link is not a valid name. Ask for a new link.",
  action_not_permitted: "The key in your link lacks a permission that calls need. The owner has to allow “send” for it.",
  account_suspended: "The signalling account of this door is suspended.",
  kicked: "An administrator closed this connection.",
  insecure: "This page was opened over plain http. Open the https address of the door: over http, browsers give no camera, no microphone and no connection.",
  unusable: "The signalling address in your link cannot be used. Ask for a new link.",
};

const SUPPLY = {
  full: "",
  keyframes: "The network is slow: the picture moves in steps.",
  paused: "The network is very slow: sound only for now.",
  waiting: "The door serves other phones already. Yours is next when one leaves.",
};

/** Why a call ended, as a sentence. */
export function endWords(cause) {
  return ENDED[cause] ?? ENDED.ended;
}

/** Why the line was refused, as a sentence. @param {string} kind see line.js */
export function refusedWords(kind) {
  return REFUSED[kind] ?? "The door's line refused this page.";
}

/** What the visitor gets from this phone. @param {{video: string, audio: string, words: string}} media */
export function mediaWords({ video, audio, words }) {
  if (words) return words;
  const heard = { on: "hears you", off: "does not hear you (muted)", none: "cannot hear you (no microphone)" }[audio];
  const seen = { on: "sees you", off: "does not see you (camera off)", none: "cannot see you (no camera)" }[video];
  return `The visitor ${seen} and ${heard}.`;
}

/** Headline and detail for the status region. */
export function statusWords(state, media) {
  switch (phase(state)) {
    case "setup":
      return { head: "Not watching yet", detail: "Tap the button once. It lets this page ring aloud and keeps the screen awake." };
    case "connecting":
      return { head: "Connecting…", detail: state.call ? "Going back into the call." : "Joining the door's channel." };
    case "armed":
      return {
        head: "Armed: waiting for the doorbell",
        detail: state.busy ? "Someone else is talking with a visitor right now." : "Keep this page open and in front. It cannot ring while the phone sleeps or the page is closed.",
      };
    case "ringing":
      return { head: "Someone is at the door", detail: SUPPLY[state.call.supply] || "They cannot see or hear you until you answer." };
    case "talking":
      return { head: state.call.confirmed ? "Connected: talking" : "Answering…", detail: SUPPLY[state.call.supply] || mediaWords(media) };
    case "reconnecting":
      if (state.line === "down") return { head: "Reconnecting…", detail: state.lineText || "The line is down. Trying again." };
      return { head: "Reconnecting…", detail: "The connection to the door is being repaired. Stay on." };
    case "refused":
      return { head: "Refused", detail: refusedWords(state.lineKind) };
    default:
      return { head: "Call ended", detail: endWords(state.ended.cause) };
  }
}
