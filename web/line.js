// The line to the channel: one MeteredPeer at a time, joined without media, and a new one whenever
// the old is beyond repair. Turns what the SDK tells into the events call.js understands.
// It decides nothing about calls.

import { MeteredPeer } from "./vendor/metered-realtime.mjs";
import { DOOR_STREAM } from "./call.js";
import { readMessage } from "./read.js";

const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;
/** Close codes after which trying again soon is pointless or punished: over a plan's or an address's limit. */
const SLOW = new Set([4010, 4011]);
const REFUSED_CLOSE = new Map([
  [4001, "invalid_token"],
  [4003, "channel_not_authorized"],
  [4012, "account_suspended"],
  [4020, "kicked"],
]);
const REFUSED_NAMES = new Set([
  "invalid_token",
  "channel_not_authorized",
  "channel_reserved",
  "invalid_channel",
  "action_not_permitted",
  "account_suspended",
]);

export class Line {
  #link;
  #hear;
  #peer = null;
  #timer = null;
  #failures = 0;
  #streams = new Map();

  /**
   * @param {{channel: string, key: string, url: string}} link
   * @param {(event: object) => void} hear events for call.js `next`, and {type: "refresh"} when only a
   *   picture or a connection was exchanged
   */
  constructor(link, hear) {
    this.#link = link;
    this.#hear = hear;
  }

  /** Joins; called again after a refusal it tries anew. */
  start() {
    this.#failures = 0;
    this.#attempt();
  }

  /** Leaves for good. */
  stop() {
    clearTimeout(this.#timer);
    this.#drop();
  }

  /** Leaves and joins again: the one cure for a connection that a browser has wedged. */
  rejoin() {
    this.#attempt();
  }

  /** Sends a message of the door protocol. Rejects with the SDK's error. */
  async tell(peerId, type, more = {}) {
    if (!this.#peer) throw new Error("not joined");
    await this.#peer.sendTo(peerId, { intercomd: 1, type, ...more });
  }

  /** The picture and sound a peer sends now, or null. */
  stream(peerId) {
    return this.#streams.get(peerId) ?? null;
  }

  /** The current connection to a peer, or null. It changes when the SDK replaces it: ask anew each time. */
  connection(peerId) {
    return this.remote(peerId)?.pc ?? null;
  }

  /** The SDK's object for a peer, or null. */
  remote(peerId) {
    return this.#peer?.remotePeers.find((remote) => remote.id === peerId) ?? null;
  }

  /** The ids of the others in the channel. */
  get members() {
    return this.#peer?.remotePeers.map(({ id }) => id) ?? [];
  }

  get peerId() {
    return this.#peer?.peerId ?? null;
  }

  async #attempt() {
    clearTimeout(this.#timer);
    this.#drop();
    this.#hear({ type: "line", line: "connecting" });
    let peer;
    try {
      peer = new MeteredPeer({ apiKey: this.#link.key, url: this.#link.url, reconnect: { maxAttempts: Infinity } });
    } catch (error) {
      this.#refuse(isSecureContext ? "unusable" : "insecure", error);
      return;
    }
    this.#peer = peer;
    this.#listen(peer);
    try {
      await peer.join(this.#link.channel);
    } catch (error) {
      if (peer === this.#peer) this.#joinFailed(error);
      return;
    }
    if (peer !== this.#peer) return;
    this.#failures = 0;
    this.#hear({ type: "line", line: "up", own: peer.peerId });
  }

  #joinFailed(error) {
    const refusal = REFUSED_CLOSE.get(error?.closeCode) ?? (REFUSED_NAMES.has(error?.name) ? error.name : null);
    if (refusal) {
      this.#refuse(refusal, error);
      return;
    }
    this.#drop();
    const slow = SLOW.has(error?.closeCode);
    const delay = slow ? LONGEST_RETRY_MS : Math.min(FIRST_RETRY_MS * 2 ** this.#failures, LONGEST_RETRY_MS);
    this.#failures += 1;
    const seconds = Math.max(1, Math.round(delay / 1000));
    const kind = navigator.onLine === false ? "offline" : slow ? "crowded" : "unreachable";
    this.#hear({ type: "line", line: "down", kind, seconds, text: text(error) });
    this.#timer = setTimeout(() => this.#attempt(), delay * (0.8 + 0.4 * Math.random()));
  }

  #refuse(kind, error) {
    this.#drop();
    this.#hear({ type: "line", line: "refused", kind, text: text(error) });
  }

  #drop() {
    const peer = this.#peer;
    this.#peer = null;
    this.#streams.clear();
    peer?.close().catch(() => {});
  }

  #listen(peer) {
    const current = (act) => (payload) => {
      if (peer === this.#peer) act(payload);
    };
    peer.on("peer-joined", current(({ peer: remote }) => this.#meet(remote, current)));
    peer.on("peer-left", current(({ peer: remote }) => {
      this.#streams.delete(remote.id);
      this.#hear({ type: "peer-left", from: remote.id });
    }));
    peer.on("data", current(({ senderPeerId, data, kind }) => {
      if (kind !== "direct") return;
      const event = readMessage(data);
      if (event) this.#hear({ ...event, from: senderPeerId });
    }));
    peer.on("state-change", current(({ from, to }) => {
      if (to === "reconnecting") this.#hear({ type: "line", line: "down", kind: navigator.onLine === false ? "offline" : "dropped" });
      if (from === "reconnecting" && to === "joined") this.#hear({ type: "line", line: "up", own: peer.peerId });
    }));
    peer.on("error", current(({ err }) => this.#failed(err)));
    // After a terminal close nothing else would ever come from this instance.
    peer.on("left", current(() => {
      if (peer === this.#peer) this.#joinFailed(new Error("connection closed"));
    }));
  }

  #failed(error) {
    const kind = error?.name === "admin_disconnect" ? "kicked" : error?.name;
    if (kind === "kicked" || REFUSED_NAMES.has(kind)) this.#refuse(kind, error);
    else if (kind === "ReconcileTimeoutError") this.rejoin();
  }

  #meet(remote, current) {
    this.#hear({ type: "refresh" });
    remote.on("stream-added", current(({ stream }) => {
      this.#streams.set(remote.id, stream);
      if (stream.id === DOOR_STREAM) this.#hear({ type: "door-stream", from: remote.id });
      this.#hear({ type: "refresh" });
    }));
    remote.on("stream-removed", current(({ stream }) => {
      if (this.#streams.get(remote.id) === stream) this.#streams.delete(remote.id);
      this.#hear({ type: "refresh" });
    }));
    remote.on("state-change", current(({ to }) => {
      if (to === "connected") this.#hear({ type: "path", from: remote.id, path: "fine" });
      if (to === "reconnecting") this.#hear({ type: "path", from: remote.id, path: "repairing" });
    }));
    remote.on("connection-reset", current(() => this.#hear({ type: "refresh" })));
    remote.on("negotiation-error", current(({ err }) => {
      if (err?.name === "IceRestartExhaustedError") this.#hear({ type: "stuck", from: remote.id });
    }));
  }
}

function text(error) {
  return String(error?.message ?? error).slice(0, 300);
}
