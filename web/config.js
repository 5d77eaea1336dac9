// Reads the link the person opened: which door, with which key, over which signalling address.
// Pure: text in, values out. It opens nothing and remembers nothing.

import { readSecret } from "./prove.js";

/**
 * Parses the part of the address after `#`: `channel=…&key=…[&url=wss://host][&name=…][&person=…&secret=…]`.
 *
 * @param {string} fragment with or without the leading `#`
 * @param {string} origin the page's own origin, for links without `url`
 * @returns {{ok: true, channel: string, key: string, url: string, name: string, rights: Rights|null, looks: boolean, push: string|null, wake: boolean, mangled: boolean} | {ok: false, missing: string[]}}
 *   `name`: what the door is called; `rights`: what proves who this person is, if the link has it whole; `looks`: the door lets it look in; `push`: the key by
 *   which the door wakes phones; `wake`: a tap on the news of a ring has opened it; `mangled`: it is
 *   a person's link and does not have it whole
 * @typedef {{person: string, secret: Uint8Array}} Rights
 */
export function readLink(fragment, origin) {
  const words = new URLSearchParams(fragment.replace(/^#/, ""));
  const channel = (words.get("channel") ?? "").trim();
  const key = (words.get("key") ?? "").trim();
  const missing = [];
  if (!channel) missing.push("channel");
  if (!key) missing.push("key");
  if (missing.length > 0) return { ok: false, missing };
  const own = rights(words);
  return {
    ok: true,
    channel,
    key,
    url: (words.get("url") ?? "").trim() || sameOrigin(origin),
    name: (words.get("name") ?? "").trim() || channel,
    rights: own,
    looks: words.get("look") === "1",
    push: /^B[A-Za-z0-9_-]{86}$/.test(words.get("push") ?? "") ? words.get("push") : null,
    wake: words.get("wake") === "1",
    mangled: own === null && (words.has("person") || words.has("secret")),
  };
}

function rights(words) {
  const person = words.get("person") ?? "";
  const secret = readSecret((words.get("secret") ?? "").trim());
  return person === "" || secret === null ? null : { person, secret };
}

/** The WebSocket origin that belongs to a page origin (`http` → `ws`, `https` → `wss`). */
export function sameOrigin(origin) {
  return origin.replace(/^http/, "ws");
}
