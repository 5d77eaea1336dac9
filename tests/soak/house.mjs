// A house that is rung at again and again: the real daemon, two light phones, and ends of calls by chance. After each
// call it checks what must be so after any call.

import assert from "node:assert/strict";
import { chance } from "../net/chance.mjs";
import { ANSWER_MS, END_MS, FLOW_MS, RING_MS, atRest, flowsBothWays, openDoor } from "./door.mjs";
import { ENDS } from "./ends.mjs";
import { Ghost } from "./ghost.mjs";
import { LightPhone } from "./light-phone.mjs";

/** Calls a phone remembers, so that it knows a ring of a call that is over. */
const REMEMBERED = 50;

export class House {
  /** How many calls ended how. */
  tally = {};
  calls = 0;
  #ends = [];

  /** @param {number} seed @param {boolean} [short] without ends that take a minute */
  static async open(seed, short = false) {
    const house = new House();
    house.#ends = Object.keys(ENDS).filter((name) => !(short && ENDS[name].slow));
    house.dice = chance(seed);
    Object.assign(house, await openDoor());
    house.phones = [house.#wishes("Anna", 2), house.#wishes("Ben", 3)].map((wishes) => new LightPhone(wishes));
    for (const phone of house.phones) await phone.join();
    return house;
  }

  #wishes(name, address) {
    const { ws: url, key, channel } = this.door;
    return { url, key, channel, name, address: `127.0.0.${address}` };
  }

  /** A phone in a process of its own, in the channel. */
  ghost() {
    return Ghost.start(this.#wishes("Carla", 4));
  }

  /** Links of phones that gave way to another one with the same door in the same stay: none in a network that is whole. */
  get linksReplaced() {
    return this.phones.reduce((sum, phone) => sum + phone.relinked, 0);
  }

  async close() {
    for (const phone of this.phones) phone.close();
    this.control.close();
    return this.door.stop();
  }

  /** Presses the button, and waits until every phone rings for the same new call. */
  async ring() {
    const mark = this.control.now;
    const known = new Set(this.phones.flatMap((phone) => [...phone.calls.keys()]));
    await this.control.ask("press");
    const { call } = await this.control.untilEvent(mark, { event: "rang", again: false }, RING_MS);
    await this.#allRing(known, call);
    return call;
  }

  async #allRing(known, call) {
    const rung = await Promise.all(this.phones.map((phone) => phone.untilRings(known, RING_MS)));
    assert.deepEqual([...new Set(rung)], [call], "every phone rings for the call that was rung");
  }

  /** The call that a press in the end of another began. */
  async nextRing(mark, before) {
    const known = new Set([before]);
    const { call } = await this.control.untilEvent(mark, { event: "rang", again: false }, RING_MS);
    await this.#allRing(known, call);
    return call;
  }

  /** One phone, by chance, and the other. */
  pick() {
    return this.dice.next() < 0.5 ? this.phones : [...this.phones].reverse();
  }

  /** Waits until this phone has the call, and sound and picture go both ways. */
  async talks(call, phone) {
    await phone.untilTold(call, ({ stage, answeredBy }) => stage === "talking" && answeredBy === phone.id, "it has the call", ANSWER_MS);
    await phone.untilFlows(FLOW_MS);
    await flowsBothWays(this.control, phone.id, FLOW_MS);
  }

  /** Waits until the call ended for this cause, here and at the phones. */
  async ends(mark, call, cause, ms = END_MS) {
    const event = await this.control.untilEvent(mark, { event: "ended", call }, ms);
    assert.equal(event.cause, cause, `the cause of the end of ${call}`);
    for (const phone of this.phones) {
      const told = await phone.untilTold(call, ({ stage }) => stage === "ended", `${call} has ended`, END_MS);
      assert.equal(told.cause, cause, `the cause that ${phone.name} heard`);
    }
  }

  /** One call, from a press to the door's rest. `end`: its name in `ENDS`, else by chance. */
  async call(end = this.#anyEnd()) {
    this.calls += 1;
    const before = this.control.now;
    try {
      const answerers = await ENDS[end].run(this);
      await this.#rests(before, answerers);
    } catch (error) {
      error.message = `call ${this.calls}, which was to end "${end}": ${error.message}`;
      throw error;
    }
    this.tally[end] = (this.tally[end] ?? 0) + 1;
    return end;
  }

  #anyEnd() {
    return this.dice.of(this.#ends.flatMap((name) => Array(ENDS[name].often).fill(name)));
  }

  /** What is so after any call, however it ended. `answerers`: how many had it. */
  async #rests(before, answerers) {
    // After half of them the next visitor does not wait for the camera to close.
    if (this.dice.next() < 0.5) this.status = await atRest(this.control, END_MS);
    else await this.control.untilState("idle", END_MS);
    const events = this.control.since(before);
    assert.ok(!events.some(({ event }) => event === "closed"), "the daemon hung up");
    const rung = events.filter(({ event, again }) => event === "rang" && !again);
    assert.equal(events.filter(({ event }) => event === "ended").length, rung.length, "each call that began has ended");
    for (const phone of this.phones) {
      assert.deepEqual(phone.faults, []);
      await phone.until(() => phone.links.size === 0, `${phone.name} saw the door leave`, END_MS, () => [...phone.links.keys()]);
      const { call } = rung.at(-1);
      assert.equal(phone.call, call, `${phone.name} was rung for each call`);
      const ids = [...phone.calls.get(call).ids];
      const persons = new Set(ids.map((id) => this.phones.find((other) => other.isOwn(id))?.name ?? id));
      assert.ok(persons.size <= answerers, `${phone.name} heard of ${persons.size} who answered: ${ids}`);
      phone.forget(REMEMBERED);
    }
  }
}
