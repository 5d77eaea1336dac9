// Asks the door for what needs a proof: to open, and for its log. Sends, waits, proves; opening.js says where it stands.

import { IDLE, isWaiting, nextOpening } from "./opening.js";
import { prove } from "./prove.js";

const ANSWER_MS = 6_000;
const REFUSAL_SHOWN_MS = 8_000;

export class Asks {
  #rights;
  #line;
  #changed;
  #opening = IDLE;
  #timer = null;
  /** The door that was asked, and the call it was asked in. */
  #asked = null;
  /** @type {{step: "none"|"asked"|"proved"|"refused", call: string|null, why: string}} */
  #log = { step: "none", call: null, why: "" };

  /**
   * @param {import("./config.js").Rights|null} rights
   * @param {import("./line.js").Line} line
   * @param {() => void} changed
   */
  constructor(rights, line, changed) {
    this.#rights = rights;
    this.#line = line;
    this.#changed = changed;
  }

  /** The name under which this link may open, or null. */
  get person() {
    return this.#rights?.person ?? null;
  }

  get opening() {
    return this.#opening;
  }

  /** Why the door does not show its log, in its own word; empty when it does, or was not asked. */
  get logRefused() {
    return this.#log.why;
  }

  /** Asks the door to open. */
  open(door, call) {
    if (this.#rights === null || isWaiting(this.#opening)) return;
    this.#asked = { door, call };
    this.#step({ type: "ask", call });
    this.#line.tell(door, "open", { call }).catch(() => this.#step({ type: "refused", call, why: "unsent" }));
  }

  /** Asks for the door's log, once in each call; not again with a secret that it does not know, which would count as a try. */
  askLog(door, call) {
    if (this.#rights === null || this.#log.call === call || this.#log.why === "wrong") return;
    this.#log = { step: "asked", call, why: "" };
    // A call that is over before it was asked leaves nothing undone: the next one asks again.
    this.#line.tell(door, "log", { call }).catch(() => {});
  }

  /** An answer of the door. @param {object} event see read.js, with its sender @param {string|null} door the door of the call */
  hear(event, door) {
    if (event.from !== door) return;
    if (event.type === "challenge") this.#prove(event);
    else if (event.type === "opened") this.#step(event);
    else if (event.type === "refused" && event.purpose === "open") this.#step(event);
    else if (event.type === "refused") {
      this.#log = { ...this.#log, step: "refused", why: event.why };
      this.#changed();
    }
  }

  /** The call is over, or is another one. */
  forget() {
    this.#asked = null;
    this.#step({ type: "call-over" });
  }

  async #prove({ from, call, purpose, nonce }) {
    if (this.#rights === null) return;
    // Only what this page has asked for is proved: a proof that nobody asked for could be somebody else's errand.
    if (purpose === "open" && !(this.#opening.step === "asked" && this.#asked.door === from && this.#asked.call === call)) return;
    if (purpose === "log" && !(this.#log.step === "asked" && this.#log.call === call)) return;
    if (purpose === "open") this.#step({ type: "challenge", call });
    else this.#log = { ...this.#log, step: "proved" };
    const { person, secret } = this.#rights;
    const peerId = this.#line.peerId;
    try {
      const proof = await prove(secret, { purpose, call, nonce, peerId, person });
      await this.#line.tell(from, "proof", { call, purpose, nonce, person, proof });
    } catch {
      if (purpose === "open") this.#step({ type: "refused", call, why: "unsent" });
    }
  }

  #step(event) {
    const opening = nextOpening(this.#opening, event);
    if (opening === this.#opening) return;
    this.#opening = opening;
    clearTimeout(this.#timer);
    const stay = { asked: ANSWER_MS, proved: ANSWER_MS, refused: REFUSAL_SHOWN_MS, opened: opening.forMs }[opening.step];
    const then = isWaiting(opening) ? "late" : "told";
    if (stay !== undefined) this.#timer = setTimeout(() => this.#step({ type: then }), stay);
    this.#changed();
  }
}
