// Looking in: what the camera sees although nobody rang, in a sheet of its own. On a line and in a channel of its own,
// since in the channel of calls a door that comes is a ring. looking.js says where it stands; this file does it.

import { find, text } from "./dom.js";
import { Line } from "./line.js";
import { IDLE, isOn, nextLook } from "./looking.js";
import { prove } from "./prove.js";
import { lookWords } from "./words.js";

const ANSWER_MS = 8_000;
const TICK_MS = 1_000;
/** The door ends a look itself; its word may be lost. */
const LATE_MS = 1_500;

export class Look {
  #link;
  #say;
  #look = IDLE;
  #line = null;
  #asked = new Set();
  #timer = null;
  #tick = null;

  /** @param {object} link see config.js; it has rights @param {() => import("./language.js").Say} say the present language */
  constructor(link, say) {
    this.#link = link;
    this.#say = say;
    find("look-sheet").addEventListener("close", () => this.stop());
    find("look-again").addEventListener("click", () => this.start());
  }

  /** Where it stands; see looking.js. */
  get look() {
    return this.#look;
  }

  /** Opens the sheet and asks the door. */
  start() {
    if (this.#link.rights === null) return;
    if (!find("look-sheet").open) find("look-sheet").showModal();
    if (isOn(this.#look)) return;
    this.#asked.clear();
    this.#step({ type: "ask" });
    this.#line = new Line({ ...this.#link, channel: `${this.#link.channel}-look` }, (event) => this.#hear(event));
    this.#line.start();
  }

  /** Lets go of everything; the door sees that nobody looks any more. */
  stop() {
    this.#step({ type: "stop" });
    if (find("look-sheet").open) find("look-sheet").close();
  }

  #hear(event) {
    if (event.type === "line" && event.line === "refused") return this.#step({ type: "refused", why: "line" });
    if (event.type === "challenge") return this.#prove(event);
    if (event.type === "refused" && event.purpose !== "look") return;
    if (["refused", "looking", "look-over", "peer-left", "line"].includes(event.type)) this.#step(event);
    // Whoever else is there does not know the word.
    for (const member of this.#line?.members ?? []) {
      if (this.#look.step !== "asking" || this.#asked.has(member)) continue;
      this.#asked.add(member);
      this.#line.tell(member, "look").catch(() => this.#asked.delete(member));
    }
    this.#paint();
  }

  async #prove({ from, call, purpose, nonce }) {
    // Only what this page has asked for is proved, and once: a number from somebody else is that one's errand.
    if (purpose !== "look" || this.#look.step !== "asking" || !this.#asked.has(from)) return;
    this.#step({ type: "challenge", from });
    const { person, secret } = this.#link.rights;
    const line = this.#line;
    try {
      const proof = await prove(secret, { purpose, call, nonce, peerId: line.peerId, person });
      await line.tell(from, "proof", { call, purpose, nonce, person, proof });
    } catch {
      this.#step({ type: "refused", from, why: "unsent" });
    }
  }

  #step(event) {
    const look = nextLook(this.#look, { ...event, at: performance.now() });
    if (look === this.#look) return;
    this.#look = look;
    clearTimeout(this.#timer);
    clearInterval(this.#tick);
    if (look.step === "asking" || look.step === "proved") this.#timer = setTimeout(() => this.#step({ type: "late" }), ANSWER_MS);
    if (look.step === "looking") {
      this.#timer = setTimeout(() => this.#step({ type: "time-up" }), look.until - performance.now() + LATE_MS);
      this.#tick = setInterval(() => this.#paint(), TICK_MS);
    }
    if (!isOn(look)) {
      this.#line?.stop();
      this.#line = null;
    }
    this.#paint();
  }

  #paint() {
    const look = this.#look;
    const video = find("look-video");
    const stream = look.step === "looking" ? this.#line.stream(look.door) : null;
    if (video.srcObject !== stream) video.srcObject = stream;
    find("look-sheet").dataset.step = look.step;
    text("look-text", lookWords(this.#say(), look));
    text("look-left", look.step === "looking" ? this.#say()("lookLeft", { n: Math.max(0, Math.ceil((look.until - performance.now()) / 1000)) }) : "");
    find("look-again").hidden = isOn(look);
  }
}
