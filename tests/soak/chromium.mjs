// The same house with a real browser: the answer page in one Chromium that stays open, and ends of calls by chance.

import assert from "node:assert/strict";
import { Phone } from "../browser/phone.mjs";
import { until } from "../browser/wait.mjs";
import { chance } from "../net/chance.mjs";
import { ANSWER_MS, END_MS, FLOW_MS, RING_MS, atRest, flowsBothWays, openDoor } from "./door.mjs";

const tap = (selector) => (house) => house.phone.page.click(selector);
const atTheDoor = (what) => (house) => house.control.ask(what);

/** Whether the page answers first, what then ends the call, and the cause. */
const ENDS = {
  "hung up": { often: 4, answers: true, act: tap("#hangup"), cause: "hung-up" },
  "declined": { often: 3, answers: false, act: tap("#hangup"), cause: "declined" },
  "ended at the door in the ring": { often: 2, answers: false, act: atTheDoor("hangup"), cause: "control" },
  "ended at the door in the talk": { often: 2, answers: true, act: atTheDoor("hangup"), cause: "control" },
  "ended by the visitor's press": { often: 2, answers: true, act: atTheDoor("press"), cause: "visitor" },
};

export class BrowserHouse {
  tally = {};
  calls = 0;

  static async open(seed) {
    const house = new BrowserHouse();
    house.dice = chance(seed);
    Object.assign(house, await openDoor());
    house.phone = await Phone.open();
    await house.phone.watch(house.door);
    return house;
  }

  async close() {
    await this.phone.close();
    this.control.close();
    return this.door.stop();
  }

  async call() {
    this.calls += 1;
    const end = this.dice.of(Object.keys(ENDS).flatMap((name) => Array(ENDS[name].often).fill(name)));
    try {
      await this.#ring(ENDS[end]);
    } catch (error) {
      error.message = `call ${this.calls}, which was to end "${end}": ${error.message}`;
      throw error;
    }
    this.tally[end] = (this.tally[end] ?? 0) + 1;
  }

  async #ring({ answers, act, cause }) {
    const { control, phone } = this;
    const mark = control.now;
    await control.ask("press");
    const { call } = await control.untilEvent(mark, { event: "rang", again: false }, RING_MS);
    await phone.untilState("ringing", RING_MS);
    if (answers) {
      await phone.page.click("#answer");
      await phone.untilState("talking", ANSWER_MS);
      await flowsBothWays(control, await phone.intercom("peerId"), FLOW_MS);
      await this.#untilSeen();
    }
    await act(this);
    const ended = await control.untilEvent(mark, { event: "ended", call }, END_MS);
    assert.equal(ended.cause, cause, `the cause of the end of ${call}`);
    await phone.untilState(["ended", "armed"], END_MS);
    this.status = await atRest(control, END_MS);
    assert.equal(await phone.intercom("rings"), this.calls, "the page rang once for each call");
    assert.deepEqual(phone.errors, []);
  }

  /** Waits until the page decodes pictures of the door. */
  #untilSeen() {
    const decodes = () => document.querySelector("#visitor").getVideoPlaybackQuality().totalVideoFrames > 0;
    return until(() => this.phone.page.evaluate(decodes), "a picture of the door on the page", FLOW_MS);
  }
}
