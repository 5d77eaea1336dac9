// A conversation in JSON over a Unix socket, one object a line: QEMU's monitor and its guest agent both talk so.

import { connect } from "node:net";
import { until, within } from "../browser/wait.mjs";

const CONNECT_MS = 20_000;
/** What begins a conversation anew, whatever was half said before; the agent repeats it. */
const ANEW = 0xff;

export class Lines {
  #socket;
  #rest = "";
  #asked = 0;
  #waiting = new Map();

  /** Connects to a socket that may not be there yet. */
  static async open(path) {
    const lines = new Lines();
    lines.#socket = await until(() => dial(path), `a connection to ${path}`, CONNECT_MS);
    lines.#socket.on("data", (data) => lines.#take(data));
    for (const event of ["error", "close"]) lines.#socket.on(event, () => lines.#end(new Error(`${path} was closed`)));
    return lines;
  }

  close() {
    this.#socket.destroy();
  }

  /** Asks, and gives the answer's `return`. */
  async ask(execute, args, ms) {
    const id = (this.#asked += 1);
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#socket.write(`${JSON.stringify({ execute, arguments: args, id })}\n`);
    try {
      const { return: result, error } = await within(answer, `an answer to ${execute}`, ms);
      if (error) throw new Error(`${execute}: ${error.desc}`);
      return result;
    } finally {
      this.#waiting.delete(id);
    }
  }

  /** Begins anew with one who may have been spoken to before. */
  anew(ms) {
    this.#socket.write(Buffer.from([ANEW]));
    return this.ask("guest-sync-delimited", { id: 1 }, ms);
  }

  #take(data) {
    const parts = (this.#rest + data.toString("latin1")).split("\n");
    this.#rest = parts.pop();
    for (const line of parts) {
      let answer;
      try {
        answer = JSON.parse(line.replaceAll(String.fromCharCode(ANEW), ""));
      } catch {
        // The tail of something that was said before we listened.
        continue;
      }
      this.#waiting.get(answer.id)?.resolve(answer);
    }
  }

  #end(error) {
    for (const { reject } of this.#waiting.values()) reject(error);
  }
}

function dial(path) {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}
