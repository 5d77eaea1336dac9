// What happens to a call when signalling fails: sockets that break or fall silent, a service that goes away or
// closes with a code, messages that are lost, doubled, late or out of order.

import assert from "node:assert/strict";
import { callState } from "../browser/door.mjs";
import { until } from "../browser/wait.mjs";
import { lasting, row, uplink, WHOLE_MS } from "./lab.mjs";

const group = "Signalling";
/** A browser needs up to two minutes to notice a silent socket: it waits 60 s twice. */
const BROWSER_SILENCE_MS = 150_000;
/** The door notices a silent socket 35 s after its last word at the latest, on its own. */
const DOOR_SILENCE_MS = 60_000;

/** Breaks one side's socket in a running call; the times until all is whole. */
async function broken(lab, who, fault, { within = WHOLE_MS, also } = {}) {
  await lab.call();
  const before = lab.service.idsOf(who).length;
  const since = Date.now();
  await fault(before);
  const back = () => lab.service.idsOf(who).length > before && (also?.() ?? true);
  const times = await lab.flowing(since, within, async () => back() && settled(await lab.door.status()));
  await lab.sound();
  return times;
}

/** The door sees one peer, connected. */
const settled = ({ peers }) => peers.length === 1 && peers[0].link === "connected";

row("socket reset at the door", { group, short: true }, (lab) => broken(lab, "door", () => lab.doorWire.reset()));

row("socket reset at the phone", { group, short: true }, (lab) => broken(lab, "phone", () => lab.phoneWire.reset()));

for (const way of ["up", "down", "both"]) {
  const said = { up: "its words are swallowed", down: "it hears nothing", both: "both ways" }[way];
  row(`half-open socket at the door, ${said}`, { group }, (lab) => broken(lab, "door", () => lab.doorWire.swallow(way), { within: DOOR_SILENCE_MS }));
  row(`half-open socket at the phone, ${said}`, { group }, (lab) => broken(lab, "phone", () => lab.phoneWire.swallow(way), { within: BROWSER_SILENCE_MS }));
}

row("service restarts with going_away", { group }, (lab) => broken(lab, "door", () => lab.service.restart(2_000), { within: WHOLE_MS, also: () => lab.service.idsOf("phone").length > 1 }));

row("refused for 60 s at the door", { group }, async (lab) => {
  await lab.call();
  const before = lab.service.idsOf("door").length;
  await lab.doorWire.refuse();
  await lasting(60_000);
  await lab.doorWire.accept();
  const since = Date.now();
  // The door's own pace by then is 30 s and a fifth.
  await lab.service.untilBack("door", before, 40_000);
  const times = await lab.flowing(since, WHOLE_MS, async () => settled(await lab.door.status()));
  await lab.sound();
  return times;
});

row("refused for 60 s at the phone", { group }, async (lab) => {
  await lab.call();
  const before = lab.service.idsOf("phone").length;
  await lab.phoneWire.refuse();
  await lasting(60_000);
  await lab.phoneWire.accept();
  const since = Date.now();
  await lab.service.untilBack("phone", before, 40_000);
  const times = await lab.flowing(since, WHOLE_MS, async () => settled(await lab.door.status()));
  await lab.sound();
  return times;
});

for (const seconds of [15, 60]) {
  row(`service away for ${seconds} s`, { group }, async (lab) => {
    await lab.call();
    const before = { door: lab.service.idsOf("door").length, phone: lab.service.idsOf("phone").length };
    await Promise.all([lab.doorWire.refuse(), lab.phoneWire.refuse()]);
    await lasting(seconds * 1_000);
    assert.ok(lab.senses.senses.every((sense) => lab.senses.flows(sense)), `people talk meanwhile: ${lab.senses.tell()}`);
    await Promise.all([lab.doorWire.accept(), lab.phoneWire.accept()]);
    const since = Date.now();
    // Each at its own pace: 30 s and a fifth by then.
    await Promise.all(["door", "phone"].map((who) => lab.service.untilBack(who, before[who], 40_000)));
    const times = await lab.flowing(since, WHOLE_MS, async () => settled(await lab.door.status()));
    await lab.sound();
    return times;
  });
}

for (const code of [1000, 1001, 1008, 1009, 1013, 4002, 4011, 4999]) {
  row(`closed with ${code} at the door`, { group, roles: ["polite"] }, (lab) => broken(lab, "door", () => lab.service.close("door", code)));
}

row("closed with 4010 at the door, which waits 30 s then", { group, roles: ["polite"] }, (lab) => broken(lab, "door", () => lab.service.close("door", 4010), { within: 40_000 + WHOLE_MS }));

for (const code of [4001, 4003, 4012, 4020]) {
  row(`refused with ${code} at the door, and the status says so`, { group, roles: ["polite"] }, async (lab) => {
    await lab.call();
    lab.service.close("door", code);
    const status = await lab.door.until((now) => uplink(now).state === "refused", "refused", WHOLE_MS);
    assert.ok(uplink(status).advice, "the status says what to do");
    assert.equal(status.counters.calls, 1);
  });
}

row("closed with 1001 at the phone", { group, roles: ["polite"] }, (lab) => broken(lab, "phone", () => lab.service.close("phone", 1001)));

// Setting up a link while packets are lost: once a handshake hung in one of seven, and the picture stayed away in one of 25.
const lossy = { group, door: "port-restricted", phone: "port-restricted", doorServers: ["stun", "udp"], phoneServers: ["stun", "udp"] };
row("socket reset at the door with 17 % loss for 3.4 s, 20 times", { ...lossy, ms: 600_000 }, async (lab) => {
  await lab.call();
  const worst = {};
  for (let round = 0; round < 20; round += 1) {
    lab.net.dropUdp("door", "both", 17);
    await lab.doorWire.reset();
    await lasting(3_400);
    lab.net.passUdp("door");
    const times = await lab.flowing(Date.now(), WHOLE_MS, async () => settled(await lab.door.status()));
    for (const [sense, ms] of Object.entries(times)) worst[sense] = Math.max(worst[sense] ?? 0, ms);
  }
  await lab.sound();
  return worst;
});

row("50 drops in a row at the door during one call", { group, ms: 400_000 }, async (lab) => {
  await lab.call();
  for (let drop = 1; drop <= 50; drop += 1) {
    const before = lab.service.idsOf("door").length;
    await lab.doorWire.reset();
    await lab.service.untilBack("door", before, 40_000);
  }
  const since = Date.now();
  const times = await lab.flowing(since, WHOLE_MS, async () => settled(await lab.door.status()));
  await lab.sound();
  return times;
});

row("50 drops in a row at the phone during one call", { group, ms: 400_000 }, async (lab) => {
  await lab.call();
  for (let drop = 1; drop <= 50; drop += 1) {
    const before = lab.service.idsOf("phone").length;
    await lab.phoneWire.reset();
    await lab.service.untilBack("phone", before, 40_000);
  }
  const since = Date.now();
  const times = await lab.flowing(since, WHOLE_MS, async () => settled(await lab.door.status()));
  await lab.sound();
  return times;
});

const changes = (frame) => frame.type === "presence";

row("the phone comes back under its id, and presence says nothing", { group, phoneId: "8a9f2c52-0c0e-4c55-9c0a-5c2f1d1b7a10" }, async (lab) => {
  await lab.call();
  const fault = lab.service.tamper({ who: "door", way: "to", is: changes, act: "lose", times: 2 });
  const before = lab.service.idsOf("phone").length;
  const since = Date.now();
  await lab.phoneWire.reset();
  await lab.service.untilBack("phone", before);
  const times = await lab.flowing(since, WHOLE_MS, async () => settled(await lab.door.status()));
  assert.equal(fault.hits, 2, "left and joined were lost");
  await lab.sound();
  return times;
});

row("logged in by tokens, socket reset at the door", { group, tokenSeconds: 3600 }, (lab) => broken(lab, "door", () => lab.doorWire.reset()));

row("tokens of 20 s, renewed in a call of a minute", { group, tokenSeconds: 20 }, async (lab) => {
  await lab.call();
  const since = Date.now();
  await until(() => lab.service.idsOf("door").length >= 4, "three new logins", 90_000);
  const times = await lab.flowing(since, WHOLE_MS, async () => settled(await lab.door.status()));
  assert.equal(new Set(lab.service.idsOf("door")).size, 1, "always the same id");
  await lab.sound();
  return times;
});

const description = (kind) => (frame) => frame.data?.type === "rtc-description" && frame.data.description.type === kind;
const candidate = (frame) => frame.data?.type === "rtc-ice" && frame.data.candidate !== null;
const snapshot = (frame) => frame.type === "presence" && frame.joined.length > 0;

const FRAMES = [
  ["the door's offer", "door", "from", description("offer")],
  ["the door's answer", "door", "from", description("answer")],
  ["the phone's offer", "phone", "from", description("offer")],
  ["the phone's answer", "phone", "from", description("answer")],
  ["a candidate of the door", "door", "from", candidate],
  ["a candidate of the phone", "phone", "from", candidate],
  ["the door's snapshot", "door", "to", snapshot],
  ["the phone's notice of the door", "phone", "to", snapshot],
];
const ACTS = { lose: "lost", double: "doubled", overtake: "out of order", delay: "3 s late" };
/** Lost: answer timer and a new link, at worst leaving and joining. */
const MENDED_MS = 30_000;

for (const [name, who, way, is] of FRAMES) {
  for (const [act, said] of Object.entries(ACTS)) {
    const short = act === "lose" && (name === "the door's answer" || name === "the phone's offer");
    // Sent by one side only in one of the roles, or not at all: then the row says so and is no proof.
    row(`${name} ${said}`, { group, short, doorServers: ["stun"], phoneServers: ["stun"] }, async (lab) => {
      const fault = lab.service.tamper({ who, way, is, act });
      const times = await lab.call(MENDED_MS + WHOLE_MS);
      await lab.sound();
      return fault.hits ? times : { ...times, notSent: true };
    });
  }
}

row("the phone's offer and then its answer lost", { group }, async (lab) => {
  lab.service.tamper({ who: "phone", way: "from", is: description("offer"), act: "lose" });
  const fault = lab.service.tamper({ who: "phone", way: "from", is: description("answer"), act: "lose" });
  const times = await lab.call(MENDED_MS + WHOLE_MS);
  await lab.sound();
  return fault.hits ? times : { ...times, notSent: true };
});

row("the door's first offer after a press lost, with the phone joining later", { group }, async (lab) => {
  await lab.door.press();
  await lab.door.until((status) => callState(status) === "ringing", "ringing");
  const fault = lab.service.tamper({ who: "door", way: "from", is: description("offer"), act: "lose" });
  const since = Date.now();
  await lab.join();
  const times = await lab.flowing(since, MENDED_MS + WHOLE_MS);
  await lab.sound();
  return fault.hits ? times : { ...times, notSent: true };
});
