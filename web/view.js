// Paints the page. It reads the state and writes the document, and calls back for taps; it keeps nothing.

import { phase, reachable } from "./call.js";
import { find, show, text, toggle } from "./dom.js";
import { paintStage } from "./view-stage.js";
import { isReady, openingWords, otherWords, sleptWords, statusWords } from "./words.js";

const KEYS = { a: ["answer"], m: ["mute"], h: ["hangup"], c: ["camera"], t: ["message", "other-message"] };

/** Wires the buttons and keys. @param {Object<string, () => void>} acts by button id */
export function wire(acts) {
  for (const [id, act] of Object.entries(acts)) find(id).addEventListener("click", act);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    // Who writes to the visitor does not mean the keys.
    if (event.target instanceof Element && event.target.closest("input, select, textarea, dialog")) return;
    const id = KEYS[event.key.toLowerCase()]?.find((id) => !find(id).hidden);
    if (!id) return;
    event.preventDefault();
    find(id).click();
  });
}

/** The page for a link that names no door. @param {import("./language.js").Say} say @param {string[]} missing */
export function paintHelp(say, missing) {
  document.title = say("title");
  document.body.dataset.state = "setup";
  text("name", say("title"));
  text("head-text", say("helpState"));
  text("missing", say("helpOpen", { missing: missing.length > 1 ? say("and", { one: missing[0], other: missing[1] }) : missing[0] }));
  show("help", true);
}

/**
 * @typedef {object} More what is shown beside the state
 * @property {import("./language.js").Say} say
 * @property {string} name of the door
 * @property {import("./waking.js").Waking} waking
 * @property {boolean} looks this person may look through the camera although nobody rang
 * @property {string|null} me the person of the link, if it may open the door
 * @property {import("./media.js").OwnMedia} media
 * @property {boolean} listening
 * @property {{audible: boolean, awake: boolean}} ready
 * @property {{ms: number, until: string}|null} slept
 * @property {{words: string, tone: "plain"|"good"|"bad"}|null} said the last thing the page has to tell, if it is still news
 * @property {import("./opening.js").Opening} opening
 * @property {import("./hold.js").Hold} hold
 * @property {import("./quality.js").Quality|null} quality
 * @property {MediaStream|null} picture what the door sends
 * @property {string|null} still the visitor at the press, as a data URL
 * @property {boolean} live a picture of the door has been seen in this call
 * @property {boolean} blocked the browser wants a tap before it gives the visitor's sound
 * @property {boolean} large
 * @property {boolean} mangled the link names a person and cannot prove it
 * @property {number} at the events' clock
 */

/** @param {import("./call.js").State} state @param {More} more */
export function paint(state, more) {
  const { say, media } = more;
  const now = phase(state);
  const ringing = now === "ringing";
  const inCall = state.call !== null && now !== "connecting";
  const talking = inCall && state.call.stage === "talking";
  const { body } = document;
  body.dataset.state = now;
  body.dataset.ready = isReady(more.ready) ? "yes" : "partly";
  body.dataset.view = inCall && more.large ? "large" : "page";
  body.dataset.quality = (talking && more.quality) || "none";
  text("name", more.name);

  // A ring may interrupt whatever is being read aloud; nothing else may.
  const urgency = ringing ? "assertive" : "polite";
  if (find("status").getAttribute("aria-live") !== urgency) find("status").setAttribute("aria-live", urgency);
  const words = statusWords(say, state, media, more.ready);
  text("head-text", words.head);
  text("detail", words.detail);
  const cause = now === "refused" ? state.lineText : "";
  text("error", cause);
  show("error", cause !== "");

  show("quality", talking && more.quality !== null);
  if (more.quality) {
    text("quality-text", say(`quality-${more.quality}`));
    text("quality-label", say("quality", { level: say(`quality-${more.quality}`) }));
  }
  paintStage(state, more, inCall, talking);
  paintChecks(more, now === "armed");
  paintOther(state, more);
  paintNote(more);

  show("look", more.looks && now === "armed");
  show("arm", now === "setup");
  show("retry", now === "refused");
  show("seen", now === "ended");
  show("answer", ringing);
  show("hangup", ringing || talking);
  text("hangup-text", say(ringing ? "decline" : "hangup"));
  toggle("mute", talking && media.audio !== "none", media.audio === "off", [say("mute"), say("unmute")]);
  toggle("camera", talking && media.video !== "none", media.video === "off", [say("cameraOff"), say("cameraOn")]);
  show("flip", talking && media.canFlip);
  show("message", inCall && (reachable(state)?.may.includes("text") ?? false));
  paintOpen(state, more, talking);
  show("keys", inCall);
}

/** The button that opens the door, for those who may, while they talk. */
function paintOpen(state, { say, me, hold }, talking) {
  const open = find("open");
  show("open", talking && state.call.confirmed && me !== null && state.call.may.includes("open"));
  if (open.dataset.hold !== hold) open.dataset.hold = hold;
  text("open-text", say({ rest: "open", held: "openHeld", "sure?": "openSure", hint: "openHint" }[hold]));
}

function paintOther(state, { say }) {
  const other = state.call ? null : state.other;
  const may = other?.may ?? [];
  show("other", other !== null);
  text("other-text", other ? otherWords(say, other) : "");
  show("take", may.includes("take"));
  show("join", may.includes("join"));
  show("other-message", may.includes("text"));
}

function paintNote({ say, said, opening, me }) {
  const words = openingWords(say, opening, me);
  const tone = words === "" ? (said?.tone ?? "plain") : { opened: "good", refused: "bad" }[opening.step] ?? "plain";
  find("note").dataset.tone = tone;
  text("note", words || (said?.words ?? ""));
}

function paintChecks({ say, ready, slept, me, mangled, waking }, visible) {
  show("checks", visible);
  show("slept", slept !== null);
  // Only to a link with a person does the door show its log.
  text("slept", slept ? `${sleptWords(say, slept)} ${me === null ? "" : say("sleptMissed")}`.trim() : "");
  check("check-sound", ready.audible, say("soundYes"), say("soundNo"));
  check("check-awake", ready.awake, say("awakeYes"), say("awakeNo"));
  check("check-secure", isSecureContext && Boolean(navigator.mediaDevices), say("secureYes"), say("secureNo"));
  show("check-wake", waking !== "none");
  check("check-wake", waking === "on", say("wake-on"), waking === "none" ? "" : say(`wake-${waking}`));
  show("wake", waking === "off" || waking === "failed");
  show("check-person", mangled);
  check("check-person", !mangled, "", say("personNo"));
}

function check(id, good, yes, no) {
  find(id).className = good ? "yes" : "no";
  text(id, good ? yes : no);
}
