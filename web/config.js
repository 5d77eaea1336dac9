// Reads the link the person opened: which door, with which key, over which signalling address.
// Pure: text in, values out. It opens nothing and remembers nothing.

/**
 * Parses the part of the address after `#`: `channel=…&key=…[&url=wss://host][&name=…]`.
 *
 * @param {string} fragment with or without the leading `#`
 * @param {string} origin the page's own origin, for links without `url`
 * @returns {{ok: true, channel: string, key: string, url: string, name: string} | {ok: false, missing: string[]}}
 */
export function readLink(fragment, origin) {
  const words = new URLSearchParams(fragment.replace(/^#/, ""));
  const channel = (words.get("channel") ?? "").trim();
  const key = (words.get("key") ?? "").trim();
  const missing = [];
  if (!channel) missing.push("channel");
  if (!key) missing.push("key");
  if (missing.length > 0) return { ok: false, missing };
  return {
    ok: true,
    channel,
    key,
    url: (words.get("url") ?? "").trim() || sameOrigin(origin),
    name: (words.get("name") ?? "").trim() || channel,
  };
}

/** The WebSocket origin that belongs to a page origin (`http` → `ws`, `https` → `wss`). */
export function sameOrigin(origin) {
  return origin.replace(/^http/, "ws");
}
