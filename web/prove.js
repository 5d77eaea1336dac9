// Proves to the door that this page knows a person's secret, without telling it: the proof of SCRAM (RFC 5802
// section 3) with HMAC-SHA-256, as docs/door-protocol.md has it. Pure but for the browser's own cryptography.

const encoder = new TextEncoder();
const HMAC = { name: "HMAC", hash: "SHA-256" };
const SECRET_BYTES = 16;

/** The 16 bytes of a secret in base64url without padding; null when it is none. @returns {Uint8Array|null} */
export function readSecret(text) {
  // 22 letters hold 132 bits; the last four are nobody's and have to be zero.
  if (!/^[A-Za-z0-9_-]{21}[AQgw]$/.test(text)) return null;
  const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/") + "=="), (letter) => letter.charCodeAt(0));
  return bytes.length === SECRET_BYTES ? bytes : null;
}

/**
 * @param {Uint8Array} secret 16 bytes
 * @param {{purpose: string, call: string, nonce: string, peerId: string, person: string}} claim `peerId`: our own
 * @returns {Promise<string>} 64 hex digits
 */
export async function prove(secret, { purpose, call, nonce, peerId, person }) {
  const clientKey = await hmac(secret, encoder.encode("intercomd person 1"));
  const storedKey = new Uint8Array(await crypto.subtle.digest("SHA-256", clientKey));
  const message = ["intercomd 1", purpose, call, nonce, peerId, person].join("\n");
  const signature = await hmac(storedKey, encoder.encode(message));
  return hex(clientKey.map((byte, n) => byte ^ signature[n]));
}

/** A name for this page at one door; what one member of the channel hears is of no use elsewhere. */
export async function pageName(page, door) {
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(`${page} ${door}`))));
}

/** @param {Uint8Array} bytes */
export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function hmac(key, message) {
  const imported = await crypto.subtle.importKey("raw", key, HMAC, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, message));
}
