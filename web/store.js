// What this browser keeps for the page: the link of an installed page, the language, the person's name, the list of
// past calls; and for the moment of a reload, the talk that it interrupts. Browsers may refuse to keep anything, and
// may be full: then the page works without.

import { readPast } from "./past.js";

const LINK = "intercom.link";
const LANGUAGE = "intercom.language";
const NAME = "intercom.name";
const VOLUME = "intercom.volume";
const PAST = "intercom.past";
const CLEARED = "intercom.cleared";
const LOOKS = "intercom.looks";
const WAKE = "intercom.wake";
const RESUME = "intercom.resume";
/** After this long the door has given a page up that went away in a talk. */
const RESUME_MS = 30_000;

export const savedLink = () => get(LINK) ?? "";
export const saveLink = (fragment) => put(LINK, fragment);
export const savedLanguage = () => get(LANGUAGE);
export const saveLanguage = (code) => put(LANGUAGE, code);
export const savedName = () => get(NAME);
export const saveName = (name) => put(NAME, name);
export const saveVolume = (volume) => put(VOLUME, String(volume));

/** How loud the visitor is, 0 to 1. */
export function savedVolume() {
  const volume = Number(get(VOLUME) ?? 1);
  return volume >= 0 && volume <= 1 ? volume : 1;
}

/** The past calls of one door. @param {string} channel */
export function savedPast(channel) {
  return readPast(json(get(`${PAST}.${channel}`)));
}

/** Keeps the list; without the older pictures, and at last without any, where there is not enough room. */
export function savePast(channel, list) {
  for (const most of [list.length, 4, 0]) {
    const smaller = list.map((past, n) => (n < most ? past : { ...past, picture: null }));
    if (put(`${PAST}.${channel}`, JSON.stringify(smaller))) return;
  }
}

/** Where this phone is woken, as far as the door has said that it keeps it. */
export const savedWake = (channel) => get(`${WAKE}.${channel}`);
export const saveWake = (channel, endpoint) => put(`${WAKE}.${channel}`, endpoint);

/** Whether this door lets persons look in, as far as it has said; null: it has not. */
export const savedLooks = (channel) => ({ yes: true, no: false })[get(`${LOOKS}.${channel}`)] ?? null;
export const saveLooks = (channel, may) => put(`${LOOKS}.${channel}`, may ? "yes" : "no");

/** When the person cleared the list last, unix ms. */
export const savedCleared = (channel) => Number(get(`${CLEARED}.${channel}`) ?? 0) || 0;

export function saveCleared(channel, now) {
  put(`${CLEARED}.${channel}`, String(now));
  savePast(channel, []);
}

/** Keeps the talk for the page that is loaded next in this tab. @param {{page: string, call: string, how: string, own: string[]}} talk */
export function saveTalk(talk, now) {
  put(RESUME, JSON.stringify({ ...talk, now }), "sessionStorage");
}

/** The talk that a reload interrupted. Read once: a tab copied later must not be taken for this one. */
export function takeTalk(now) {
  const talk = json(get(RESUME, "sessionStorage"));
  put(RESUME, null, "sessionStorage");
  if (typeof talk?.page !== "string" || typeof talk.call !== "string" || !Array.isArray(talk.own)) return null;
  return now - talk.now < RESUME_MS ? { ...talk, own: talk.own.filter((id) => typeof id === "string") } : null;
}

function get(key, kind = "localStorage") {
  try {
    return globalThis[kind].getItem(key);
  } catch {
    return null;
  }
}

function put(key, value, kind = "localStorage") {
  try {
    if (value === null) globalThis[kind].removeItem(key);
    else globalThis[kind].setItem(key, value);
    return true;
  } catch {
    return false;
  }
}

function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
