// The answer page: ties the line, the state of the call, the bell, this phone's devices and the screen.
// Everything that rings, films or sends follows from the state in `settle`, so that nothing can be left
// ringing or filming by a forgotten branch.

import { Asks } from "./asks.js";
import { Awake } from "./awake.js";
import { adrift, next, phase, reachable, start, taking } from "./call.js";
import { readLink } from "./config.js";
import { find, translate } from "./dom.js";
import { HoldButton, wireHold } from "./hold.js";
import { choose, speaker } from "./language.js";
import { Line } from "./line.js";
import { Look } from "./look.js";
import { OwnMedia } from "./media.js";
import { followed, logged, openedBy, pictured } from "./past.js";
import { photoName, savePhoto, small } from "./pictures.js";
import { hex, pageName } from "./prove.js";
import { Ringtone } from "./ringtone.js";
import { closeTexts, wireSettings, wireTexts } from "./sheets.js";
import * as store from "./store.js";
import { Timers } from "./timers.js";
import { paintPast } from "./view-past.js";
import { visitor } from "./view-stage.js";
import { paint, paintHelp, wire } from "./view.js";
import { Wake } from "./wake.js";
import { FirstPicture, QualityWatch } from "./watcher.js";
import { isReady, personName } from "./words.js";

const SHOW_ENDED_MS = 8_000;
const SHOW_SAID_MS = 8_000;
const ADRIFT_MS = 30_000;
/** How long the door's media may take to connect before this page joins anew. */
const STUCK_MS = 12_000;
/** How long the door may take to hand a call over. */
const TAKE_MS = 8_000;
const AGE_TICK_MS = 1_000;
const MOST_REJOINS_PER_CALL = 2;

let code = choose(navigator.languages, store.savedLanguage());
let say = await load(code);

async function load(language) {
  return speaker((await import(`./lang/${language}.js`)).default);
}

/** The clock of the events: it runs on evenly when the phone's own is set. */
const clock = () => performance.now();

function watch(link) {
  const before = store.takeTalk(Date.now());
  /** Which page this is, whatever id the line has at present. A copied tab is another; the same one loaded again is not. */
  const page = before?.page ?? hex(crypto.getRandomValues(new Uint8Array(16)));
  let state = start(before);
  let me = personName(store.savedName() ?? link.rights?.person);
  let past = store.savedPast(link.channel);
  let listening = false;
  let blocked = false;
  let large = false;
  let said = null;
  let slept = null;
  let still = null;
  let seen = null;
  // What was sent already, by the id under which and the door and call for which.
  let told = null;
  let named = null;
  let rung = null;
  let shown = before?.call ?? null;
  let rings = 0;
  let rejoins = { call: null, count: 0 };
  let lastEnd = null;
  const timers = new Timers();
  const ringtone = new Ringtone(() => settle());
  const media = new OwnMedia(() => settle());
  const line = new Line(link, hear);
  const asks = new Asks(link.rights, line, () => render());
  const wake = new Wake(link, line, () => say, () => render());
  const look = new Look(link, () => say);
  const hold = new HoldButton(openDoor, () => render());
  const quality = new QualityWatch(() => render());
  const firstPicture = new FirstPicture(visitor(), (at) => {
    seen = { stream: visitor().srcObject, at };
    settle();
  });
  const awake = new Awake(() => settle(), (ms) => {
    slept = { ms, until: new Intl.DateTimeFormat(code, { hour: "2-digit", minute: "2-digit" }).format(new Date()) };
    if (state.call?.stage !== "talking") line.rejoin();
    settle();
  });

  function hear(event) {
    const door = reachable(state)?.door ?? null;
    switch (event.type) {
      case "stuck":
        unstick();
        break;
      case "refresh":
        break;
      case "picture":
        if (event.from === door) keepPicture(event);
        break;
      case "challenge":
      case "refused":
        (event.purpose === "wake" ? wake : asks).hear(event, door);
        break;
      case "will-wake":
        wake.hear(event, door);
        break;
      case "opened":
        asks.hear(event, door);
        if (event.from === door && event.by) keepPast(openedBy(past, event.call, event.by));
        break;
      case "log":
        if (event.from === door) keepPast(logged(past, event.entries, store.savedCleared(link.channel)));
        break;
      default:
        step({ ...event, at: clock() });
        if (event.type === "notice") {
          if (event.notice.stage !== "ended") store.saveLooks(link.channel, event.notice.may.includes("look"));
          disown(event);
        }
    }
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
    if (state.call?.id !== before.call?.id && !talks) hold.reset();
    if (state.call) slept = null;
    else {
      // A call that is over for this page can be taken back, and then the door has to be told anew.
      told = null;
      listening = false;
      blocked = false;
      large = false;
      seen = null;
    }
    if (!state.call && !state.other) {
      still = null;
      asks.forget();
    }
    if (reachable(state)?.door !== reachable(before)?.door) {
      // A door that left has forgotten this page, whether it comes back under the same id or another.
      told = null;
      named = null;
    }
    if (!reachable(state)?.may.includes("text")) closeTexts();
    keepPast(followed(past, before, state, { wall: Date.now(), at: clock() }));
    settle();
  }

  /** Makes the outside agree with the state. May be called at any time, any number of times. */
  function settle() {
    const now = phase(state);
    const { call } = state;
    const talks = call?.stage === "talking";
    if (now === "ringing") ringtone.on();
    else ringtone.off();
    if (call !== null) look.stop();
    awake.want(now !== "setup" && now !== "refused");
    const at = reachable(state);
    if (at) {
      introduce(at);
      if (at.call !== null) {
        asks.askLog(at.door, at.call);
        wake.tell(at.door, at.call);
      }
      if (now === "ringing") ring(at);
      if (talks) {
        media.sendTo(line.connection(at.door));
        announce(at);
      }
    }
    quality.follow(talks && at ? line.connection(at.door) : null, call?.supply ?? "full");
    timers.keep("ended", now === "ended", SHOW_ENDED_MS, () => step({ type: "seen" }), state.ended);
    timers.keep("adrift", adrift(state), ADRIFT_MS, () => step({ type: "door-lost" }));
    timers.keep("taking", taking(state), TAKE_MS, () => step({ type: "not-taken" }), call?.id);
    timers.keep("age", now === "ringing", AGE_TICK_MS, settle);
    timers.keep("said", said !== null, SHOW_SAID_MS, () => note(null), said);
    const apart = call !== null && at !== null && call.supply !== "waiting" && line.remote(at.door)?.state !== "connected";
    timers.keep("stuck", apart, STUCK_MS, unstick, call?.door);
    render();
    firstPicture.follow();
    report();
  }

  // With a new id of ours the door has to know that it is still this page, to give it its place again.
  function introduce({ door, call }) {
    const key = `${line.peerId} ${door} ${call} ${me}`;
    if (named === key) return;
    named = key;
    // An older door does not know the word, and a lost one only costs a moment's order.
    pageName(page, door).then((page) => line.tell(door, "hello", me === null ? { page } : { page, name: me })).catch(() => {});
  }

  // The door gave the call back to a page that is done with it: after a lost line it cannot know better.
  function disown({ from, notice: { call, stage, answeredBy } }) {
    const ours = stage === "talking" && answeredBy !== null && answeredBy === line.peerId;
    if (ours && call !== null && state.call === null && state.resume === null) line.tell(from, "hangup", { call }).catch(() => {});
  }

  // Once per call and id of ours, and only from a page that somebody can notice.
  function ring({ door, call }) {
    const key = `${line.peerId} ${call}`;
    if (call === null || rung === key || (document.visibilityState !== "visible" && !ringtone.audible)) return;
    rung = key;
    line.tell(door, "ringing", { call }).catch(() => {});
  }

  // Once per attachment of ours and per door: the door forgets an id that left the channel.
  function announce({ door, call }) {
    const key = `${line.peerId} ${door} ${call}`;
    if (told === key) return;
    told = key;
    tell(door, state.call.how, call);
  }

  // How long it took from the first word of the call to its picture on this screen.
  function report() {
    const { call } = state;
    if (!call?.id || call.door === null || state.line !== "up" || !isLive() || shown === call.id) return;
    shown = call.id;
    const after_ms = Math.max(0, Math.round(seen.at - call.heardAt));
    line.tell(call.door, "shown", { call: call.id, after_ms }).catch(() => {});
  }

  function tell(door, type, call, more = {}) {
    return line.tell(door, type, call === null ? more : { call, ...more }).then(
      () => true,
      (error) => {
        note(say("untold", { cause: error?.message ?? String(error) }), "bad");
        return false;
      },
    );
  }

  function unstick() {
    const call = state.call;
    if (!call) return;
    if (rejoins.call !== call.id) rejoins = { call: call.id, count: 0 };
    if (rejoins.count >= MOST_REJOINS_PER_CALL) return;
    rejoins.count += 1;
    line.rejoin();
  }

  async function keepPicture({ call, url }) {
    const tiny = await small(url);
    // What the browser cannot decode is no picture, whatever it begins with.
    if (tiny === null || reachable(state)?.call !== call) return;
    still = { call, url };
    keepPast(pictured(past, call, tiny));
    render();
  }

  function keepPast(list) {
    if (list === past) return;
    past = list;
    store.savePast(link.channel, past);
  }

  function picture() {
    const { call } = state;
    if (!call) return null;
    return call.door === null ? visitor().srcObject : line.stream(call.door);
  }

  function isLive() {
    return seen !== null && seen.stream === visitor().srcObject;
  }

  function ready() {
    return { audible: ringtone.audible, awake: awake.held };
  }

  function note(words, tone = "plain") {
    said = words === null ? null : { words, tone };
    settle();
  }

  function render() {
    const { call } = state;
    const stream = picture();
    paint(state, {
      say, media, listening, slept, said, blocked, large,
      name: link.name,
      mangled: link.mangled,
      me: asks.person,
      looks: link.rights !== null && (store.savedLooks(link.channel) ?? link.looks),
      ready: ready(),
      waking: wake.state,
      opening: asks.opening,
      hold: hold.state,
      quality: quality.quality,
      picture: stream,
      still: still !== null && still.call === call?.id ? still.url : null,
      live: seen !== null && stream !== null && seen.stream === stream,
      at: clock(),
    });
    const note = asks.logRefused === "wrong" ? say("pastLogWrong") : "";
    const present = call?.id ?? state.other?.call ?? null;
    paintPast({ say, code, note, present, list: past, visible: isPastShown() });
    play();
  }

  function isPastShown() {
    const now = phase(state);
    return !state.call && (["armed", "ended"].includes(now) || (now === "setup" && past.length > 0));
  }

  // A page that was loaded again in a talk has not been touched yet, and some browsers then give pictures only.
  function play() {
    const video = visitor();
    if (!video.srcObject || !video.paused) return;
    video.play().catch((error) => {
      if (error?.name !== "NotAllowedError" || blocked) return;
      blocked = true;
      render();
    });
  }

  function hangUp() {
    const { call } = state;
    if (!call) return;
    if (call.door !== null) tell(call.door, "hangup", call.id);
    step({ type: "hangup" });
  }

  function openDoor() {
    const at = reachable(state);
    if (at !== null && at.call !== null && state.call?.stage === "talking") asks.open(at.door, at.call);
  }

  async function send(text) {
    const at = reachable(state);
    if (at === null) note(say("textFailed"), "bad");
    else if (await tell(at.door, "text", at.call, { text })) note(say("textShown", { text }), "good");
  }

  function enlarge() {
    large = !large && state.call !== null;
    // Where the browser can hide its own bars it does; where not, the picture fills what there is.
    if (large) document.documentElement.requestFullscreen?.().catch(() => {});
    else if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
    settle();
  }

  wire({
    arm() {
      ringtone.unlock();
      if (location.hash.length > 1) store.saveLink(location.hash.replace(/&wake=1$/, ""));
      line.start();
    },
    retry: () => line.start(),
    look: () => look.start(),
    wake: () => wake.enable(),
    seen: () => step({ type: "seen" }),
    answer: () => step({ type: "answer" }),
    take: () => step({ type: "take" }),
    join: () => step({ type: "join" }),
    hangup: hangUp,
    mute: () => media.toggleMute(),
    camera: () => media.toggleCamera(),
    flip: () => media.flip(),
    enlarge,
    visitor: enlarge,
    picture: enlarge,
    async snapshot() {
      const saved = await savePhoto(visitor(), photoName(link.name, new Date()));
      note(say(saved ? "snapshotSaved" : "snapshotFailed"), saved ? "good" : "bad");
    },
    listen() {
      listening = !listening;
      render();
    },
    "past-clear"() {
      store.saveCleared(link.channel, Date.now());
      keepPast([]);
      render();
    },
  });
  wireTexts(send, () => say);
  wireHold(hold, find("open"));
  wireSettings(
    {
      language: speak,
      name(name) {
        me = personName(name) ?? personName(link.rights?.person);
        store.saveName(name);
        settle();
      },
      volume: store.saveVolume,
      speakerFailed: () => note(say("speakerFailed"), "bad"),
      speakerDefault: () => say("speakerDefault"),
    },
    { code, name: me ?? "", volume: store.savedVolume() },
  );

  async function speak(language) {
    say = await load(language);
    code = language;
    store.saveLanguage(code);
    translate(say, code);
    ringtone.setTitles(say("tabTitle", { door: link.name }), say("tabRinging"));
    wake.leaveWords().catch(() => {});
    render();
  }

  addEventListener("pointerdown", () => {
    if (state.line !== "off") ringtone.unlock();
    if (!blocked) return;
    blocked = false;
    render();
  });
  document.addEventListener("visibilitychange", settle);
  document.addEventListener("fullscreenchange", () => {
    if (document.fullscreenElement || !large) return;
    large = false;
    settle();
  });
  // The door then sees this phone leave at once instead of missing it for some seconds.
  addEventListener("pagehide", () => {
    const { call, own } = state;
    if (call?.stage === "talking" && call.id !== null) store.saveTalk({ page, call: call.id, how: call.how, own }, Date.now());
    line.stop();
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    store.takeTalk(Date.now());
    if (state.line !== "off") line.start();
  });

  Object.defineProperty(window, "intercom", {
    value: Object.freeze({
      get state() { return phase(state); },
      get peerId() { return line.peerId; },
      get door() { return state.call?.door ?? null; },
      get call() { return state.call ? { ...state.call } : null; },
      get other() { return state.other ? { ...state.other } : null; },
      get lastEnd() { return lastEnd ? { ...lastEnd } : null; },
      get rings() { return rings; },
      get sounding() { return ringtone.ringing; },
      get sending() { return { video: media.video, audio: media.audio }; },
      get listening() { return !visitor().muted; },
      get rejoins() { return rejoins.count; },
      get ready() { return isReady(ready()); },
      get opening() { return { ...asks.opening }; },
      get look() { return { ...look.look }; },
      get waking() { return wake.state; },
      get past() { return past.map((entry) => ({ ...entry })); },
      get shown() { return shown; },
    }),
  });
  ringtone.setTitles(say("tabTitle", { door: link.name }), say("tabRinging"));
  settle();
  if (before !== null || link.wake) {
    ringtone.unlock();
    line.start();
  }
}

// An installed page is started without its fragment by some browsers; a page in a tab always has its own.
function presentFragment() {
  const installed = matchMedia("(display-mode: standalone)").matches || navigator.standalone === true;
  return location.hash.length > 1 || !installed ? location.hash : store.savedLink();
}

function help(missing) {
  const speak = async (language) => {
    say = await load(language);
    store.saveLanguage(language);
    translate(say, language);
    paintHelp(say, missing);
  };
  wireSettings({ language: speak }, { code, name: "", volume: 1 });
  paintHelp(say, missing);
}

translate(say, code);
addEventListener("hashchange", () => location.reload());
const link = readLink(presentFragment(), location.origin);
if (link.ok) watch(link);
else help(link.missing);
