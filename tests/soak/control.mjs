// The daemon's control socket, read directly: a program per question, as `ctl` is one, would cost more than a call.

import { connect } from "node:net";
import { createInterface } from "node:readline";
import { once } from "node:events";
import { within } from "../browser/wait.mjs";
import { Changing } from "./changing.mjs";

const ASK_MS = 10_000;
/** Events that are kept. */
const KEPT = 300;

/** What is read from a socket, by lines. A socket's errors are its owner's to tell. */
function lines(socket) {
  return createInterface({ input: socket }).on("error", () => {});
}

export class Control extends Changing {
  #path;
  #socket;
  #count = 0;
  #events = [];
  /** The call's state by the last event that told of it. */
  state = null;

  /** Watches the door behind this socket. */
  static async watch(path) {
    const control = new Control();
    control.#path = path;
    const socket = connect(path);
    control.#socket = socket;
    await within(once(socket, "connect"), "a connection to the control socket", ASK_MS);
    // The daemon hangs up on whoever reads too slowly, and at its own end.
    socket.on("error", () => {}).on("close", () => control.#heard({ event: "closed" }));
    lines(socket).on("line", (line) => control.#heard(JSON.parse(line)));
    socket.write(`${JSON.stringify({ do: "watch" })}\n`);
    await control.until(() => control.state, "the first event", ASK_MS);
    return control;
  }

  #heard(event) {
    if (event.event === "state") this.state = event.state;
    this.#count += 1;
    this.#events.push({ ...event, number: this.#count });
    if (this.#events.length > KEPT) this.#events.shift();
    this.changed();
  }

  /** How many events came so far: what `untilEvent` and `since` count from. */
  get now() {
    return this.#count;
  }

  /** The events that came after this one. */
  since(mark) {
    return this.#events.filter(({ number }) => number > mark);
  }

  /** Waits for an event with these values that comes, or came, after this one. */
  untilEvent(mark, wanted, ms) {
    const fits = (event) => Object.entries(wanted).every(([key, value]) => event[key] === value);
    return this.until(() => this.since(mark).find(fits), `the event ${JSON.stringify(wanted)}`, ms, () => this.since(mark).slice(-30));
  }

  untilState(state, ms) {
    return this.until(() => this.state === state, `the door's state ${state}`, ms, () => this.#events.slice(-30));
  }

  /** One request and its reply; rejects when the daemon refuses. */
  async ask(what) {
    const socket = connect(this.#path);
    const reply = new Promise((resolve, reject) => {
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("the daemon hung up without a reply")));
      lines(socket).once("line", (line) => resolve(JSON.parse(line)));
    });
    socket.write(`${JSON.stringify({ do: what })}\n`);
    try {
      const answer = await within(reply, `the daemon's reply to ${what}`, ASK_MS);
      if (!answer.ok) throw new Error(`${what} was refused: ${answer.error}`);
      return answer;
    } finally {
      socket.destroy();
    }
  }

  async status() {
    return (await this.ask("status")).status;
  }

  close() {
    this.#socket.destroy();
  }
}
