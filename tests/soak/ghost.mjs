// A light phone in a process of its own, for ends that no phone in this process can have: killed in a talk, or frozen.
// Told what to do over the channel to its parent; ends with it.

import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { within } from "../browser/wait.mjs";
import { LightPhone } from "./light-phone.mjs";

const START_MS = 20_000;
const TALK_MS = 30_000;

export class Ghost {
  #child;

  /** Starts one that is in the channel. `wishes` as for a light phone. */
  static async start(wishes) {
    const ghost = new Ghost();
    ghost.#child = fork(fileURLToPath(import.meta.url), [JSON.stringify(wishes)], { env: { ...process.env, INTERCOMD_GHOST: "1" } });
    ghost.id = await ghost.#word("its join", START_MS);
    return ghost;
  }

  async #word(what, ms) {
    const { id, trouble } = await within(once(this.#child, "message").then(([word]) => word), `the ghost's word of ${what}`, ms);
    if (trouble) throw new Error(`the ghost: ${trouble}`);
    return id;
  }

  /** Answers the call that rings, or the next one, and waits until it is seen and heard. */
  async talk() {
    this.#child.send("talk");
    await this.#word("its talk", TALK_MS);
  }

  /** Ends at once, as a phone whose battery is taken out; the kernel closes its sockets. */
  async kill() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGKILL");
    await within(once(this.#child, "exit"), "the ghost's end", START_MS);
  }

  /** Says nothing more; its sockets stay open, as those of a phone in a tunnel. */
  freeze() {
    this.#child.kill("SIGSTOP");
  }
}

if (process.env.INTERCOMD_GHOST && process.argv[1] === fileURLToPath(import.meta.url)) {
  const phone = new LightPhone(JSON.parse(process.argv[2]));
  process.on("disconnect", () => process.exit(0));
  process.on("message", async () => {
    try {
      const call = await phone.untilRings(new Set(), TALK_MS);
      phone.answer();
      await phone.untilTold(call, ({ answeredBy }) => answeredBy === phone.id, "it has the call", TALK_MS);
      await phone.untilFlows(TALK_MS);
      process.send({ id: phone.id });
    } catch (error) {
      process.send({ trouble: error.message });
    }
  });
  await phone.join();
  process.send({ id: phone.id });
}
