// A light phone: a member of the channel with real peer connections and no browser. It does what the answer page does
// on the wire (docs/protocol.md, docs/door-protocol.md), counts packets instead of decoding them, and notes what no
// page should ever have to hear.

import { createHash, randomUUID } from "node:crypto";
import WebSocket from "ws";
import { Changing } from "./changing.mjs";
import { Link } from "./link.mjs";

const JOIN_MS = 15_000;
/** Packets of each kind that count as flowing. */
const FLOWING = 3;

export class LightPhone extends Changing {
  #socket = null;
  #wishes;
  #page = randomUUID();
  #greeted = new Set();
  /** Every id it ever had. */
  #own = new Set();
  #takes = false;
  id = null;
  /** Its links by the door's peer id. */
  links = new Map();
  /** What is known of each call by its name: `{seq, stage, cause, answeredBy, ids, door}`. */
  calls = new Map();
  /** The call it heard of last. */
  call = null;
  /** What must not be. */
  faults = [];
  /** Whether its person talks: it sends on every link. */
  talks = false;
  /** Links that replaced another one of the same door. */
  relinked = 0;

  /** @param {{url: string, key: string, channel: string, name: string, address: string}} wishes `address`: its own, of this machine */
  constructor(wishes) {
    super();
    this.#wishes = wishes;
  }

  /** Joins the channel; again after `drop`, under another id. */
  async join() {
    const { url, key, address } = this.#wishes;
    // Each phone comes from an address of its own, as in a house: the hub counts how often one knocks.
    const socket = new WebSocket(`${url}/v1?key=${encodeURIComponent(key)}`, { localAddress: address });
    this.#socket = socket;
    this.id = null;
    this.joined = false;
    socket.on("error", () => {});
    socket.on("message", (text) => {
      if (socket === this.#socket) this.#frame(JSON.parse(text));
    });
    socket.on("close", (code) => {
      if (socket !== this.#socket) return;
      this.joined = false;
      this.faults.push(`${this.name}'s line was closed with ${code}`);
      this.changed();
    });
    await this.until(() => this.joined, `${this.name} in the channel`, JOIN_MS, () => this.faults);
  }

  get name() {
    return this.#wishes.name;
  }

  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ ...frame, requestId: randomUUID() }));
  }

  /** A message of the door protocol about the call it heard of last. */
  say(type, more = {}) {
    const { door } = this.calls.get(this.call);
    this.#send({ type: "send", to: door, data: { intercomd: 1, type, call: this.call, ...more } });
  }

  #frame(frame) {
    if (frame.type === "welcome") {
      this.id = frame.peerId;
      this.#own.add(this.id);
      // As the SDK does: whom it meets now it meets anew.
      for (const door of [...this.links.keys()]) this.#hangUpOn(door);
      this.#send({ type: "subscribe", channel: this.#wishes.channel, includeSenderMetadata: false });
    } else if (frame.type === "presence") {
      this.joined = true;
      for (const { peerId } of frame.left ?? []) this.#hangUpOn(peerId);
    } else if (frame.type === "direct") {
      this.#direct(frame.from, frame.data);
    } else if (frame.type === "error") {
      // The door left while this was on its way.
      if (frame.code !== "peer_not_found") this.faults.push(`the hub says ${frame.code} to ${this.name}`);
    }
    this.changed();
  }

  #hangUpOn(peer) {
    this.links.get(peer)?.close();
    this.links.delete(peer);
  }

  #direct(from, data) {
    if (data?.type === "rtc-description") this.#describe(from, data.description);
    else if (data?.type === "rtc-ice") this.links.get(from)?.candidate(data.candidate);
    else if (data?.intercomd === 1 && data.type === "call") this.#note(from, data);
  }

  #describe(from, description) {
    let link = this.links.get(from);
    if (description.type === "offer") {
      const collides = link?.offering;
      // Whose id sorts first gives way.
      if (collides && this.id > from) return;
      if (collides || (link && !link.belongs(description.sdp))) {
        this.#hangUpOn(from);
        this.relinked += 1;
        link = null;
      }
      if (!link) {
        const tell = (data) => this.#send({ type: "send", to: from, data });
        link = new Link({ sends: this.talks, tell, changed: () => this.changed() });
        this.links.set(from, link);
      }
    }
    link?.describe(description);
  }

  #note(from, { call, seq, stage, cause, answered_by: answeredBy }) {
    const known = this.calls.get(call) ?? { seq: 0, stage: null, ids: new Set() };
    if (known.stage === "ended" && stage !== "ended") this.faults.push(`${this.name} hears "${stage}" of ${call}, which has ended`);
    if (seq < known.seq) return;
    if (answeredBy) known.ids.add(answeredBy);
    this.calls.set(call, Object.assign(known, { seq, stage, cause, answeredBy, door: from }));
    if (stage === "ended") {
      this.#quiet();
      return;
    }
    this.call = call;
    if (this.#own.has(answeredBy)) this.#takes = false;
    else if (answeredBy && this.talks && !this.#takes) this.#quiet();
    // Once for each call and each id of its own: the door knows the page again by it.
    const greeting = `${call} ${this.id}`;
    if (this.#greeted.has(greeting)) return;
    this.#greeted.add(greeting);
    const page = createHash("sha256").update(`${this.#page} ${from}`).digest("hex");
    this.say("hello", { page, name: this.name });
    if (this.talks) this.say("answer");
    else if (stage === "ringing") this.say("ringing");
  }

  /** Whether this id is, or was, this phone's. */
  isOwn(id) {
    return this.#own.has(id);
  }

  #quiet() {
    this.talks = false;
    this.#takes = false;
    for (const link of this.links.values()) link.mute();
  }

  #speak(type) {
    this.talks = true;
    this.say(type);
    for (const link of this.links.values()) link.send();
  }

  answer() {
    this.#speak("answer");
  }

  take() {
    // Until the door says so, it may still tell of whoever had the call before.
    this.#takes = true;
    this.#speak("take");
  }

  hangup() {
    this.say("hangup");
    this.#quiet();
  }

  /** Waits until it rings for a call that is not among `before`. Gives the call's name. */
  untilRings(before, ms) {
    const rings = () => this.call && !before.has(this.call) && this.calls.get(this.call).stage === "ringing" && this.call;
    return this.until(rings, `${this.name} rings`, ms, () => this.#seen());
  }

  /** Waits for the door's word on this call, and gives what is known of it then. */
  untilTold(call, wanted, what, ms) {
    const told = () => this.calls.has(call) && wanted(this.calls.get(call)) && { ...this.calls.get(call) };
    return this.until(told, `${this.name} hears: ${what}`, ms, () => this.#seen());
  }

  /** Waits until packets of both kinds have come from now on, and have gone. */
  async untilFlows(ms) {
    const total = (way, kind) => [...this.links.values()].reduce((sum, link) => sum + link[way][kind], 0);
    const ways = ["received", "sent"].flatMap((way) => ["audio", "video"].map((kind) => [way, kind, total(way, kind)]));
    // What counts begins anew with another link.
    const flows = () => ways.every(([way, kind, before]) => total(way, kind) >= before + FLOWING || (total(way, kind) >= FLOWING && total(way, kind) < before));
    await this.until(flows, `sound and picture to and from ${this.name}`, ms, () => this.#seen());
  }

  /** Waits until a picture or a sound of the door came. */
  untilSees(ms) {
    return this.until(() => [...this.links.values()].some(({ received }) => received.video > 0), `a picture at ${this.name}`, ms, () => this.#seen());
  }

  #seen() {
    const links = [...this.links].map(([door, { state, received, sent, offering }]) => ({ door, state, received, sent, offering }));
    const call = this.calls.get(this.call);
    return { id: this.id, joined: this.joined, call: this.call, ...call, ids: [...(call?.ids ?? [])], links, faults: this.faults };
  }

  /** Cuts its line without a word. Its links stay, as a page's would, until it is greeted again. */
  drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.joined = false;
    socket.terminate();
  }

  /** Forgets calls of long ago, so that it does not itself grow. */
  forget(kept) {
    for (const call of [...this.calls.keys()].slice(0, -kept)) this.calls.delete(call);
    if (this.#greeted.size > 4 * kept) this.#greeted = new Set([...this.#greeted].slice(-kept));
  }

  /** Leaves for good. */
  close() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
    for (const door of [...this.links.keys()]) this.#hangUpOn(door);
  }
}
