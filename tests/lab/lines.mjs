// A conversation in JSON over a Unix socket, one object a line: QEMU's monitor and its guest agent both talk so.

import { connect } from "node:net";
import { until, within } from "../browser/wait.mjs";

const CONNECT_MS = 20_000;

export class Lines {
  #socket;
  #rest = "";
  #waiting = null;
  #last = Promise.resolve();

  /** Connects to a socket that may not be there yet. */
  static async open(path) {
    const lines = new Lines();
    lines.#socket = await until(() => dial(path), `a connection to ${path}`, CONNECT_MS);
    lines.#socket.on("data", (data) => lines.#take(data));
    for (const event of ["error", "close"]) lines.#socket.on(event, () => lines.#waiting?.reject(new Error(`${path} was closed`)));
    return lines;
  }

  close() {
    this.#socket.destroy();
  }

  /** Asks, and gives the answer's `return`. One question at a time; the others wait. */
  ask(execute, args, ms) {
    const next = this.#last.then(() => this.#ask({ execute, arguments: args }, ms, (answer) => "return" in answer || "error" in answer));
    this.#last = next.catch(() => {});
    return next.then((answer) => {
      if (answer.error) throw new Error(`${execute}: ${answer.error.desc}`);
      return answer.return;
    });
  }

  /** The greeting QEMU's monitor begins with. */
  greeting(ms) {
    return this.#ask(null, ms, (answer) => "QMP" in answer);
  }

  /** Makes sure that what comes next answers what is asked next, whatever was said before on this line. */
  async sync(ms) {
    const id = Math.floor(Math.random() * 2 ** 31);
    this.#socket.write(Buffer.from([0xff]));
    await this.#ask({ execute: "guest-sync-delimited", arguments: { id } }, ms, (answer) => answer.return === id);
  }

  async #ask(question, ms, isAnswer) {
    const answer = new Promise((resolve, reject) => (this.#waiting = { resolve, reject, isAnswer }));
    if (question) this.#socket.write(`${JSON.stringify(question)}\n`);
    try {
      return await within(answer, `an answer to ${question?.execute ?? "nothing"}`, ms);
    } finally {
      this.#waiting = null;
    }
  }

  #take(data) {
    const parts = (this.#rest + data.toString("latin1")).split("\n");
    this.#rest = parts.pop();
    for (const line of parts) {
      let answer;
      try {
        answer = JSON.parse(line.replaceAll("\xff", ""));
      } catch {
        // The tail of something that was said before we listened.
        continue;
      }
      if (this.#waiting?.isAnswer(answer)) this.#waiting.resolve(answer);
    }
  }
}

function dial(path) {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}
