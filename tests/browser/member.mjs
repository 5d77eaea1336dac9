// A member of the channel without any page of ours: the public SDK in a browser, sending just what a test tells it to.

import { createHash, createHmac } from "node:crypto";
import { Phone } from "./phone.mjs";
import { until } from "./wait.mjs";

const VERSION = 1;

export class Member {
  #phone;
  /** The call that `tell` speaks of. */
  call = null;

  /** Joins the channel of this door. @param {import("./door.mjs").Door} door */
  static async join(door) {
    const member = new this();
    member.#phone = await Phone.open();
    // The door's own page without a link: it joins nothing, and the SDK lies beside it.
    await member.page.goto(`http://127.0.0.1:${door.port}/`);
    member.id = await member.page.evaluate(join, { key: door.key, channel: door.channel, url: door.ws });
    return member;
  }

  get page() {
    return this.#phone.page;
  }

  async close() {
    await this.#phone.close();
  }

  /** Any message of the protocol about the present call. */
  tell(to, type, more = {}) {
    return this.send(to, { intercomd: VERSION, type, call: this.call, ...more });
  }

  send(to, message) {
    return this.page.evaluate(([to, message]) => window.peer.sendTo(to, message), [to, message]);
  }

  /** All messages of this type that came, in their order: `{from, data}`. */
  heard(type) {
    return this.page.evaluate((type) => window.heard.filter(({ data }) => data?.type === type), type);
  }

  /** Waits for the nth message of this type (from 1). */
  untilHeard(type, nth = 1, ms = 10_000) {
    return until(async () => (await this.heard(type))[nth - 1], `message ${nth} "${type}"`, ms, () => this.everything());
  }

  /** Everything that came. */
  everything() {
    return this.page.evaluate(() => window.heard);
  }

  /**
   * Proves a secret to the door for this challenge, as docs/door-protocol.md has it.
   *
   * @param {Buffer} secret
   * @param {{call: string, purpose: string, nonce: string}} challenge
   * @returns {object} the message, for `send`
   */
  proof(secret, { call, purpose, nonce }, person) {
    const clientKey = clientKeyOf(secret);
    const signed = signature(sha256(clientKey), { purpose, call, nonce, person }, this.id);
    return { intercomd: VERSION, type: "proof", call, purpose, nonce, person, proof: xor(clientKey, signed).toString("hex") };
  }
}

/** Whether a proof is right, as a door would find that keeps no secret. */
export function isProved(secret, claim, peerId) {
  const storedKey = sha256(clientKeyOf(secret));
  return sha256(xor(Buffer.from(claim.proof, "hex"), signature(storedKey, claim, peerId))).equals(storedKey);
}

const clientKeyOf = (secret) => createHmac("sha256", secret).update("intercomd person 1").digest();
const sha256 = (bytes) => createHash("sha256").update(bytes).digest();
const xor = (one, other) => Buffer.from(one.map((byte, n) => byte ^ other[n]));

function signature(storedKey, { purpose, call, nonce, person }, peerId) {
  return createHmac("sha256", storedKey).update(["intercomd 1", purpose, call, nonce, peerId, person].join("\n"), "utf8").digest();
}

/** In the browser: joins and notes what comes. */
async function join({ key, channel, url }) {
  const { MeteredPeer } = await import("/vendor/metered-realtime.mjs");
  window.heard = [];
  window.peer = new MeteredPeer({ apiKey: key, url });
  window.peer.on("data", ({ senderPeerId, data, kind }) => {
    if (kind === "direct") window.heard.push({ from: senderPeerId, data });
  });
  await window.peer.join(channel);
  return window.peer.peerId;
}
