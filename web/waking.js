// What this phone's being woken comes to, and whether the door has to be told. Pure.

/**
 * @typedef {"none"|"unsupported"|"home"|"denied"|"off"|"busy"|"failed"|"untold"|"on"} Waking
 *
 * `none`: the door wakes nobody, or this link names no person; `home`: only from the home screen; `untold`: the browser
 * would be woken, and the door does not know yet.
 */

/**
 * @param {object} facts
 * @param {string|null} facts.key the door's, from the link
 * @param {boolean} facts.person the link proves who it is
 * @param {boolean} facts.supported the browser can wake pages of this address
 * @param {boolean} facts.apple iOS or iPadOS
 * @param {boolean} facts.installed
 * @param {"granted"|"denied"|"default"} facts.permission
 * @param {{key: string, endpoint: string}|null} facts.subscription
 * @param {string|null} facts.told the endpoint that the door has said it keeps
 * @param {"busy"|"failed"|null} facts.tried
 * @returns {Waking}
 */
export function waking({ key, person, supported, apple, installed, permission, subscription, told, tried }) {
  if (key === null || !person) return "none";
  if (!supported) return apple && !installed ? "home" : "unsupported";
  if (permission === "denied") return "denied";
  if (subscription !== null && subscription.key === key && permission === "granted") return told === subscription.endpoint ? "on" : "untold";
  return tried ?? "off";
}
