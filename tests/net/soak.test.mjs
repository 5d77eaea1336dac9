// Faults strung together by chance in one call. The seed is printed; NET_SEED repeats a run. The short selection
// repeats chains that once found something, so that it says the same of the same commit each time.
// NET_SOAK_S is how long faults go on, in seconds.

import assert from "node:assert/strict";
import { chance } from "./chance.mjs";
import { lasting, row, SHORT, WHOLE_MS } from "./lab.mjs";

/** Found: a rate that fell to the least after a hole of 740 ms; a late offer that turned the phone to a link of before. */
const TELLING = [1964966991, 735244207];
const CHANCE = () => [Math.floor(Math.random() * 2 ** 31)];
const SEEDS = process.env.NET_SEED ? [Number(process.env.NET_SEED)] : SHORT ? TELLING : CHANCE();
const SOAK_MS = 1000 * Number(process.env.NET_SOAK_S ?? (SHORT ? 30 : 300));
const servers = { doorServers: ["stun", "udp"], phoneServers: ["stun", "udp"] };

const isDescription = (frame) => frame.data?.type === "rtc-description";
const isCandidate = (frame) => frame.data?.type === "rtc-ice";

/** What can go wrong; each ends with the network whole and gives its name. */
const FAULTS = [
  async (lab) => (await lab.doorWire.reset(), "the door's socket reset"),
  async (lab) => (await lab.phoneWire.reset(), "the phone's socket reset"),
  async (lab) => (await Promise.all([lab.doorWire.reset(), lab.phoneWire.reset()]), "both sockets reset"),
  async (lab, dice) => {
    const [house, way, ms] = [dice.of(["door", "phone"]), dice.of(["in", "out", "both"]), dice.between(500, 9_000)];
    lab.net.dropUdp(house, way);
    await lasting(ms);
    lab.net.passUdp(house);
    return `no UDP at the ${house}, ${way}, ${ms} ms`;
  },
  async (lab, dice) => {
    const [percent, ms] = [dice.between(1, 20), dice.between(1_000, 6_000)];
    lab.net.dropUdp("door", "both", percent);
    await lasting(ms);
    lab.net.passUdp("door");
    return `${percent} % loss, ${ms} ms`;
  },
  async (lab) => (lab.net.move("door"), "the door's address changed"),
  async (lab, dice) => {
    const code = dice.of([1000, 1001, 1013, 4002, 4011]);
    lab.service.close("door", code);
    return `the door's socket closed with ${code}`;
  },
  async (lab, dice) => {
    const ms = dice.between(200, 1_500);
    await lab.service.restart(ms);
    return `the service gone for ${ms} ms`;
  },
  async (lab, dice) => {
    const [who, act] = [dice.of(["door", "phone"]), dice.of(["lose", "double", "delay", "overtake"])];
    lab.service.tamper({ who, way: "from", is: dice.next() < 0.5 ? isDescription : isCandidate, act });
    await lab[dice.of(["doorWire", "phoneWire"])].reset();
    return `a socket reset, and a message of the ${who}: ${act}`;
  },
];

/** A lost message costs an answer timer of 5 s and a new link before the 5 s begin. */
const MENDING_MS = 20_000;

/** The whole selection's row keeps its name, whatever its seed, for the table. */
const name = (seed) => `faults by chance for ${SOAK_MS / 1000} s${SHORT ? `, chain ${seed}` : ""}`;

for (const seed of SEEDS) {
  row(name(seed), { group: "Random", short: true, ms: SOAK_MS + 240_000, rules: 'linger = "60s"', door: "port-restricted", phone: "port-restricted", ...servers }, async (lab) => {
    const dice = chance(seed);
    process.stdout.write(`# seed ${seed}\n`);
    await lab.call();
    const story = [];
    const worst = {};
    const end = Date.now() + SOAK_MS;
    while (Date.now() < end) {
      const several = dice.next() < 0.3 ? 2 : 1;
      const names = [];
      for (let n = 0; n < several; n += 1) names.push(await dice.of(FAULTS)(lab, dice));
      story.push(names.join(" + "));
      process.stdout.write(`# ${story.at(-1)}\n`);
      const mending = names.some((name) => name.includes("message")) ? MENDING_MS : 0;
      try {
        const times = await lab.flowing(Date.now(), WHOLE_MS + mending, async () => whole(await lab.door.status()));
        process.stdout.write(`# whole after ${JSON.stringify(times)}\n`);
        for (const [sense, ms] of Object.entries(times)) worst[sense] = Math.max(worst[sense] ?? 0, ms);
      } catch (error) {
        error.message = `seed ${seed}, after ${story.join("; ")}: ${error.message}`;
        throw error;
      }
    }
    const { counters } = await lab.sound();
    assert.equal(counters.links_open, 1);
    return worst;
  });
}

/** One peer, one link, and both uplinks in the channel. */
function whole({ peers, uplinks, counters }) {
  return peers.length === 1 && peers[0].link === "connected" && counters.links_open === 1 && uplinks.every(({ state }) => state === "joined");
}
