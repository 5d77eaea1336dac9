// The answer page: ties the line, the state of the call, the bell, this phone's devices and the screen.
// Everything that rings, films or sends follows from the state in `settle`, so that nothing can be left
// ringing or filming by a forgotten branch.

import { Awake } from "./awake.js";
import { adrift, next, phase, start } from "./call.js";
import { readLink } from "./config.js";
import { Line } from "./line.js";
import { OwnMedia } from "./media.js";
import { Ringtone } from "./ringtone.js";
import { paint, paintHelp, visitor, wire } from "./view.js";

const SHOW_ENDED_MS = 8_000;
const ADRIFT_MS = 30_000;
/** How long the door's media may take to connect before this page joins anew. */
const STUCK_MS = 12_000;
const MOST_REJOINS_PER_CALL = 2;
const MEMORY = "intercom.link";
/** Which page this is, whatever id the line has at present. A tab that is copied or loaded again is another. */
const PAGE = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** This page's name at one door. What one door hears is of no use at another, where it would take our place. */
async function pageName(door) {
  const bytes = new TextEncoder().encode(`${PAGE} ${door}`);
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function watch(link) {
  let state = start();
  let listening = false;
  let problem = "";
  let rings = 0;
  let told = null;
  let named = null;
  let rejoins = { call: null, count: 0 };
  let lastEnd = null;
  const timers = new Timers();
  const ringtone = new Ringtone(render);
  const media = new OwnMedia(() => settle());
  const line = new Line(link, hear);
  const awake = new Awake(render, () => {
    if (state.call?.stage !== "talking") line.rejoin();
  });
  ringtone.title = `${link.name} – door intercom`;

  function hear(event) {
    if (event.type === "stuck") unstick();
    else if (event.type !== "refresh") step(event);
    // Connections change without a change of the state, too.
    settle();
  }

  function step(event) {
    const before = state;
    state = next(before, event);
    if (state === before) return;
    if (phase(state) === "ringing" && phase(before) !== "ringing") rings += 1;
    if (state.ended && state.ended !== before.ended) lastEnd = state.ended;
    const talked = before.call?.stage === "talking";
    const talks = state.call?.stage === "talking";
    if (talks && !talked) media.open();
    if (talked && !talks) media.close();
    if (!state.call) {
      listening = false;
      told = null;
      named = null;
      problem = "";
    }
    settle();
  }

  /** Makes the outside agree with the state. May be called at any time, any number of times. */
  function settle() {
    const now = phase(state);
    const { call } = state;
    const talks = call?.stage === "talking";
    if (now === "ringing") ringtone.on();
    else ringtone.off();
    awake.want(now !== "setup" && now !== "refused");
    if (call !== null && call.door !== null && state.line === "up") introduce(call.door);
    if (talks && call.door !== null && state.line === "up") {
      media.sendTo(line.connection(call.door));
      announce(call.door);
    }
    timers.keep("ended", now === "ended", SHOW_ENDED_MS, () => step({ type: "seen" }), state.ended);
    timers.keep("adrift", adrift(state), ADRIFT_MS, () => step({ type: "door-lost" }));
    const apart = call !== null && call.door !== null && state.line === "up" && call.supply !== "waiting" && line.remote(call.door)?.state !== "connected";
    timers.keep("stuck", apart, STUCK_MS, unstick, call?.door);
    render();
  }

  // With a new id of ours the door has to know that it is still this page, to give it its place again.
  function introduce(door) {
    const key = `${line.peerId} ${door}`;
    if (named === key) return;
    named = key;
    // An older door does not know the word, and a lost one only costs a moment's order.
    pageName(door).then((page) => line.tell(door, "hello", { page })).catch(() => {});
  }

  // Once per attachment of ours and per door: the door forgets an id that left the channel.
  function announce(door) {
    const key = `${line.peerId} ${door}`;
    if (told === key) return;
    told = key;
    tell(door, "answer");
  }

  function tell(door, type) {
    line.tell(door, type).catch((error) => {
      problem = `The door was not told (${error?.message ?? error}).`;
      render();
    });
  }

  function unstick() {
    const call = state.call;
    if (!call) return;
    if (rejoins.call !== call.id) rejoins = { call: call.id, count: 0 };
    if (rejoins.count >= MOST_REJOINS_PER_CALL) return;
    rejoins.count += 1;
    line.rejoin();
  }

  function picture() {
    const { call } = state;
    if (!call) return null;
    return call.door === null ? visitor().srcObject : line.stream(call.door);
  }

  function render() {
    paint(state, { name: link.name, media, listening, audible: ringtone.audible, awake: awake.held, problem, picture: picture() });
  }

  function hangUp() {
    const { call } = state;
    if (!call) return;
    if (call.door !== null) tell(call.door, "hangup");
    step({ type: "hangup" });
  }

  wire({
    arm() {
      ringtone.unlock();
      rememberFragment();
      line.start();
    },
    retry: () => line.start(),
    seen: () => step({ type: "seen" }),
    answer: () => step({ type: "answer" }),
    hangup: hangUp,
    mute: () => media.toggleMute(),
    camera: () => media.toggleCamera(),
    listen() {
      listening = !listening;
      render();
    },
  });
  addEventListener("pointerdown", () => {
    if (state.line !== "off") ringtone.unlock();
  });
  // The door then sees this phone leave at once instead of missing it for some seconds.
  addEventListener("pagehide", () => line.stop());
  addEventListener("pageshow", (event) => {
    if (event.persisted && state.line !== "off") line.start();
  });

  Object.defineProperty(window, "intercom", {
    value: Object.freeze({
      get state() { return phase(state); },
      get peerId() { return line.peerId; },
      get door() { return state.call?.door ?? null; },
      get call() { return state.call ? { ...state.call } : null; },
      get lastEnd() { return lastEnd ? { ...lastEnd } : null; },
      get rings() { return rings; },
      get sounding() { return ringtone.ringing; },
      get sending() { return { video: media.video, audio: media.audio }; },
      get listening() { return !visitor().muted; },
      get rejoins() { return rejoins.count; },
    }),
  });
  settle();
}

/** Named timers that run exactly while their condition holds. */
class Timers {
  #running = new Map();

  /** @param {unknown} about a timer whose subject changed starts anew */
  keep(name, on, delay, act, about = null) {
    const running = this.#running.get(name);
    if (running && on && running.about === about) return;
    if (running) {
      clearTimeout(running.id);
      this.#running.delete(name);
    }
    if (!on) return;
    const id = setTimeout(() => {
      this.#running.delete(name);
      act();
    }, delay);
    this.#running.set(name, { id, about });
  }
}

// An installed page is started without its fragment by some browsers; a page in a tab always has its own.
function savedFragment() {
  const installed = matchMedia("(display-mode: standalone)").matches || navigator.standalone === true;
  if (location.hash.length > 1 || !installed) return location.hash;
  try {
    return localStorage.getItem(MEMORY) ?? "";
  } catch {
    return "";
  }
}

function rememberFragment() {
  try {
    if (location.hash.length > 1) localStorage.setItem(MEMORY, location.hash);
  } catch {
    // Private windows refuse storage; the link itself still works.
  }
}

addEventListener("hashchange", () => location.reload());
const link = readLink(savedFragment(), location.origin);
if (link.ok) watch(link);
else paintHelp(link.missing);
