// How calls end. Each takes a house, has one call there (or two, where the end of one is the matter), and gives how many
// persons may have had the last of them. `often` is its weight: what waits for a deadline of the door is rare; what takes a
// minute is `slow`.

import { ANSWER_MS, END_MS, FLOW_MS, RING_MS, flowsBothWays } from "./door.mjs";

/** The hub takes 40 s to miss a member whose socket stays open (docs/protocol.md), and the door may have begun anew just then. */
const MISSED_MS = 90_000;

/** Rings, lets one phone answer, and waits until it is seen and heard. */
async function talk(house) {
  const call = await house.ring();
  const [phone, other] = house.pick();
  // Half of them answer before they see anybody.
  if (house.dice.next() < 0.5) await phone.untilSees(FLOW_MS);
  phone.answer();
  await house.talks(call, phone);
  return { call, phone, other, mark: house.control.now };
}

async function everybodyDeclines(house, call) {
  const mark = house.control.now;
  for (const phone of house.pick()) phone.hangup();
  await house.ends(mark, call, "declined");
}

/** A phone in a process of its own answers; what `happens` to it ends the call, within so many milliseconds. */
async function withGhost(house, happens, ms) {
  const ghost = await house.ghost();
  try {
    const call = await house.ring();
    await ghost.talk();
    await flowsBothWays(house.control, ghost.id, FLOW_MS);
    const mark = house.control.now;
    await happens(ghost);
    await house.ends(mark, call, "peer-gone", ms);
  } finally {
    await ghost.kill();
  }
}

export const ENDS = {
  "hung up": {
    often: 220,
    run: async (house) => {
      const { call, phone, mark } = await talk(house);
      phone.hangup();
      await house.ends(mark, call, "hung-up");
      return 1;
    },
  },
  "declined by all": {
    often: 160,
    run: async (house) => {
      await everybodyDeclines(house, await house.ring());
      return 0;
    },
  },
  "ended at the door in the ring": {
    often: 120,
    run: async (house) => {
      const call = await house.ring();
      const mark = house.control.now;
      await house.control.ask("hangup");
      await house.ends(mark, call, "control");
      return 0;
    },
  },
  "ended at the door in the talk": {
    often: 80,
    run: async (house) => {
      const { call, mark } = await talk(house);
      await house.control.ask("hangup");
      await house.ends(mark, call, "control");
      return 1;
    },
  },
  "ended by the visitor's press": {
    often: 80,
    run: async (house) => {
      const { call, mark } = await talk(house);
      await house.control.ask("press");
      await house.ends(mark, call, "visitor");
      return 1;
    },
  },
  "rung twice, then declined": {
    often: 80,
    run: async (house) => {
      const call = await house.ring();
      const mark = house.control.now;
      await house.control.ask("press");
      await house.control.untilEvent(mark, { event: "rang", call, again: true }, RING_MS);
      await everybodyDeclines(house, call);
      return 0;
    },
  },
  "answered by two at once": {
    often: 80,
    run: async (house) => {
      const call = await house.ring();
      const both = house.pick();
      for (const phone of both) phone.answer();
      const told = await both[0].untilTold(call, ({ answeredBy }) => answeredBy, "somebody has the call", ANSWER_MS);
      const winner = both.find(({ id }) => id === told.answeredBy);
      await house.talks(call, winner);
      const mark = house.control.now;
      winner.hangup();
      await house.ends(mark, call, "hung-up");
      return 1;
    },
  },
  "taken over": {
    often: 80,
    run: async (house) => {
      const { call, other, mark } = await talk(house);
      other.take();
      await house.talks(call, other);
      other.hangup();
      await house.ends(mark, call, "hung-up");
      return 2;
    },
  },
  "a press while it ends": {
    often: 60,
    run: async (house) => {
      const { call, phone, mark } = await talk(house);
      phone.hangup();
      await house.control.untilEvent(mark, { event: "ended", call }, END_MS);
      await house.control.ask("press");
      await house.ends(mark, call, "hung-up");
      await everybodyDeclines(house, await house.nextRing(mark, call));
      return 0;
    },
  },
  "a line cut in the ring, then hung up": {
    often: 60,
    run: async (house) => {
      const call = await house.ring();
      const [phone] = house.pick();
      phone.drop();
      await phone.join();
      phone.answer();
      await house.talks(call, phone);
      const mark = house.control.now;
      phone.hangup();
      await house.ends(mark, call, "hung-up");
      return 1;
    },
  },
  "a line cut in the talk, then hung up": {
    often: 60,
    run: async (house) => {
      const { call, phone, mark } = await talk(house);
      phone.drop();
      await phone.join();
      await house.talks(call, phone);
      phone.hangup();
      await house.ends(mark, call, "hung-up");
      return 1;
    },
  },
  "nobody answers": {
    often: 10,
    run: async (house) => {
      const mark = house.control.now;
      await house.ends(mark, await house.ring(), "no-answer");
      return 0;
    },
  },
  "a phone killed in the talk": {
    often: 10,
    run: async (house) => {
      await withGhost(house, (ghost) => ghost.kill(), END_MS);
      return 1;
    },
  },
  "a phone frozen in the talk": {
    often: 1,
    slow: true,
    run: async (house) => {
      await withGhost(house, (ghost) => ghost.freeze(), MISSED_MS);
      return 1;
    },
  },
};
