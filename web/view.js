// Paints the page. It reads the state and writes the document, and calls back for taps; it keeps nothing.

import { phase } from "./call.js";
import { statusWords } from "./words.js";

const find = (id) => document.getElementById(id);

/** Wires the buttons and keys. @param {Object<string, () => void>} acts by button id */
export function wire(acts) {
  for (const [id, act] of Object.entries(acts)) find(id).addEventListener("click", act);
  const keys = { a: "answer", m: "mute", h: "hangup" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const button = keys[event.key.toLowerCase()] && find(keys[event.key.toLowerCase()]);
    if (button && !button.hidden) button.click();
  });
}

/** The page for a link that names no door. @param {string[]} missing */
export function paintHelp(missing) {
  document.body.dataset.state = "setup";
  text("head-text", "No door chosen");
  text("detail", "");
  text("missing", missing.join(" and "));
  show("help", true);
}

/** The visitor's element. */
export const visitor = () => find("visitor");

/**
 * @param {import("./call.js").State} state
 * @param {{name: string, media: import("./media.js").OwnMedia, listening: boolean, audible: boolean,
 *          awake: boolean, problem: string, picture: MediaStream|null}} more
 */
export function paint(state, more) {
  const now = phase(state);
  const { media } = more;
  const ringing = now === "ringing";
  const inCall = state.call !== null && now !== "connecting";
  const talking = inCall && state.call.stage === "talking";
  document.body.dataset.state = now;
  text("name", more.name);
  const words = statusWords(state, media);
  text("head-text", words.head);
  text("detail", words.detail);
  const error = now === "refused" ? state.lineText : more.problem;
  text("error", error);
  show("error", error !== "");

  paintStage(state, more, inCall, talking);
  paintChecks(more, now === "armed" || now === "setup");

  show("arm", now === "setup");
  show("retry", now === "refused");
  show("seen", now === "ended");
  show("answer", ringing);
  show("hangup", ringing || talking);
  text("hangup-text", ringing ? "Decline" : "Hang up");
  toggle("mute", talking && media.audio !== "none", media.audio === "off", ["Mute", "Unmute"]);
  toggle("camera", talking && media.video !== "none", media.video === "off", ["Camera off", "Camera on"]);
  toggle("listen", inCall && !talking, more.listening, ["Listen", "Stop listening"]);
}

function paintStage(state, { media, listening, picture }, inCall, talking) {
  show("stage", inCall);
  const video = find("visitor");
  const wanted = inCall ? picture : null;
  if (video.srcObject !== wanted) {
    video.srcObject = wanted;
    // Without a tap browsers start only muted pictures, and this one is muted until then.
    if (wanted) video.play().catch(() => {});
  }
  video.muted = !(talking || listening);
  const hasPicture = wanted?.getVideoTracks().length > 0;
  text("no-picture", !wanted ? "Waiting for the picture from the door…" : hasPicture ? "" : "The door sends sound but no picture.");
  const own = find("own");
  const preview = talking ? media.preview : null;
  if (own.srcObject !== preview) own.srcObject = preview;
  show("own", preview !== null);
}

function paintChecks({ audible, awake }, visible) {
  show("checks", visible && document.body.dataset.state === "armed");
  check("check-sound", audible, "The bell can be heard. Mind the phone's volume.", "The browser blocks the bell's sound. Tap anywhere on this page.");
  check("check-awake", awake, "The screen stays on while this page is in front.", "The screen may switch off, and then this page cannot ring. Set a long screen time, or charge the phone.");
  check("check-secure", isSecureContext && Boolean(navigator.mediaDevices), "You can be seen and heard when you answer.", "Opened without https: you can watch, but not be seen or heard.");
}

function check(id, good, yes, no) {
  const item = find(id);
  item.className = good ? "yes" : "no";
  text(id, good ? yes : no);
}

function toggle(id, visible, pressed, [off, on]) {
  show(id, visible);
  // The label says what a tap does, so the state is shown by colour and not told a second time.
  find(id).classList.toggle("active", pressed);
  text(find(`${id}-text`) ? `${id}-text` : id, pressed ? on : off);
}

function show(id, visible) {
  find(id).hidden = !visible;
}

// Live regions are read aloud on every write, so an unchanged text is left alone.
function text(id, words) {
  const element = find(id);
  if (element.textContent !== words) element.textContent = words;
}
