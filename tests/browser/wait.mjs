// Waiting for observable things, always with a deadline.

import { once } from "node:events";
import { createServer } from "node:net";

/** Pause between two looks at the same thing, in milliseconds. */
const LOOK_MS = 100;

/**
 * Looks again and again until `look` gives something true, and returns that.
 *
 * @param {() => any} look may be async; an exception counts as "not yet" and is told at the end
 * @param {string} what for the error: "… did not happen within …"
 * @param {number} ms deadline
 * @param {() => any} [hint] told with the error: what was seen instead
 * @param {number} [pause] between two looks, in milliseconds
 */
export async function until(look, what, ms, hint = () => "", pause = LOOK_MS) {
  const deadline = performance.now() + ms;
  let trouble = "";
  for (;;) {
    try {
      const seen = await look();
      if (seen) return seen;
      trouble = "";
    } catch (error) {
      trouble = ` (${error.message})`;
    }
    if (performance.now() > deadline) break;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  let seen = "";
  try {
    seen = await hint();
  } catch (error) {
    seen = error.message;
  }
  throw new Error(`${what} did not happen within ${ms} ms${trouble}${seen ? `; seen: ${typeof seen === "string" ? seen : JSON.stringify(seen)}` : ""}`);
}

/** Rejects when the promise takes longer than `ms`. */
export function within(promise, what, ms) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not happen within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A port of this machine that was free a moment ago. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
