// Calls across routers of every kind, and what becomes of them when the TURN server fails them.

import assert from "node:assert/strict";
import { lasting, row, WHOLE_MS } from "./lab.mjs";
import { until } from "../browser/wait.mjs";

const group = "NAT";
const both = (kinds) => ({ doorServers: kinds, phoneServers: kinds });

/** A call, the checks of a whole one, and the path it took. */
async function callBy(lab, wanted) {
  const times = await lab.call();
  await lab.sound();
  const path = await lab.path();
  assert.ok(wanted(path), JSON.stringify(path));
  return times;
}

const direct = ({ phone, door }) => phone !== "relay" && door !== "relay";
const relayed = (path) => !direct(path);

row("no NAT at all", { group, door: "routed", phone: "routed" }, (lab) => callBy(lab, direct));

row("full cone both", { group, door: "full-cone", phone: "full-cone", ...both(["stun"]) }, (lab) => callBy(lab, direct));

row("port-restricted both", { group, short: true, door: "port-restricted", phone: "port-restricted", ...both(["stun"]) }, (lab) => callBy(lab, direct));

row("symmetric door, full cone phone", { group, door: "symmetric", phone: "full-cone", ...both(["stun"]) }, (lab) => callBy(lab, direct));

row("symmetric door, port-restricted phone", { group, door: "symmetric", phone: "port-restricted", ...both(["stun", "udp"]) }, (lab) => callBy(lab, relayed));

row("symmetric phone, full cone door", { group, door: "full-cone", phone: "symmetric", ...both(["stun"]) }, (lab) => callBy(lab, direct));

row("symmetric phone, port-restricted door", { group, door: "port-restricted", phone: "symmetric", ...both(["stun", "udp"]) }, (lab) => callBy(lab, relayed));

row("symmetric both, relay", { group, short: true, door: "symmetric", phone: "symmetric", ...both(["stun", "udp"]) }, (lab) => callBy(lab, relayed));

row("symmetric both, only the door has TURN", { group, door: "symmetric", phone: "symmetric", doorServers: ["udp"], phoneServers: ["stun"] }, (lab) => callBy(lab, ({ door }) => door === "relay"));

row("symmetric both, only the phone has TURN", { group, door: "symmetric", phone: "symmetric", doorServers: ["stun"], phoneServers: ["udp"] }, (lab) => callBy(lab, ({ phone }) => phone === "relay"));

row("UDP blocked at the door, TURN over TCP", { group, short: true, door: "no-udp", phone: "port-restricted", doorServers: ["stun", "udp", "tcp"], phoneServers: ["stun", "udp"] }, (lab) => callBy(lab, relayed));

row("UDP blocked at the door, TURN over TCP, phone without TURN", { group, door: "no-udp", phone: "port-restricted", doorServers: ["tcp"], phoneServers: ["stun"] }, (lab) => callBy(lab, ({ door }) => door === "relay"));

row("only 443 out at the door, TURN over TLS", { group, door: "only-443", phone: "port-restricted", doorServers: ["stun", "udp", "tcp", "tls"], phoneServers: ["stun"] }, (lab) => callBy(lab, ({ door }) => door === "relay"));

row("UDP blocked at the phone, TURN over TCP", { group, door: "port-restricted", phone: "no-udp", ...both(["stun", "udp", "tcp"]) }, (lab) => callBy(lab, relayed));

row("relay only, by the door's policy", { group, door: "routed", phone: "routed", doorServers: ["udp"], phoneServers: ["stun"], more: '\n[ice]\npolicy = "relay"\n' }, (lab) => callBy(lab, ({ door }) => door === "relay"));

row("IPv6 only", { group, door: "routed", phone: "routed", family: "v6", ...both(["stun", "udp"]) }, (lab) => callBy(lab, ({ doorAddress }) => doorAddress.includes(":")));

// The server has both families, the houses have IPv6 alone. The WebRTC crate's TURN client asks for no address family
// (RFC 8656 section 7.1), as Chromium's does not: a server without IPv4 refuses both (440).
row("IPv6 only, UDP blocked at the door, TURN over TCP", { group, door: "no-udp", phone: "routed", family: "v6", doorServers: ["tcp"], phoneServers: ["udp"] }, (lab) => callBy(lab, ({ door }) => door === "relay"));

row("TURN server restarts mid-call", { group, door: "symmetric", phone: "symmetric", ...both(["udp"]) }, async (lab) => {
  await callBy(lab, relayed);
  await lab.turn.down();
  await until(() => lab.senses.senses.every((sense) => !lab.senses.flows(sense)), "the end of all media without its relay", WHOLE_MS);
  await lab.turn.up();
  const times = await lab.flowing(Date.now(), 60_000);
  await lab.sound();
  return times;
});

row("TURN credentials expire mid-call", { group, door: "symmetric", phone: "symmetric", doorServers: ["udp"], phoneServers: ["stun"] }, async (lab) => {
  await callBy(lab, relayed);
  // What was handed out is worthless now; the service hands out new ones with the next welcome.
  lab.turn.forget();
  const before = lab.service.idsOf("door").length;
  await lab.turn.down();
  await lab.turn.up();
  const since = Date.now();
  await lab.doorWire.reset();
  await lab.service.untilBack("door", before);
  const times = await lab.flowing(since, 60_000);
  await lab.sound();
  return times;
});

row("TURN credentials are renewed, and the phone's answer to that is lost", { group, roles: ["impolite"], tokenSeconds: 20, door: "symmetric", phone: "symmetric", doorServers: ["udp"], phoneServers: ["stun"] }, async (lab) => {
  await callBy(lab, relayed);
  const fault = lab.service.tamper({ who: "phone", way: "from", is: ({ data }) => data?.type === "rtc-description" && data.description.type === "answer", act: "lose" });
  const { link_rebuilds: before } = (await lab.door.status()).counters;
  // Media goes on over the former pair meanwhile.
  await lab.door.until(({ counters }) => counters.link_rebuilds > before, "a link that is built anew", 60_000);
  const since = Date.now();
  const times = await lab.flowing(since, WHOLE_MS);
  assert.equal(fault.hits, 1);
  await lab.sound();
  return times;
});

row("TURN credentials of a few seconds outlive themselves", { group, door: "symmetric", phone: "symmetric", doorServers: ["udp"], phoneServers: ["stun"], ms: 300_000 }, async (lab) => {
  lab.credentialSeconds = 20;
  const before = lab.service.idsOf("door").length;
  await lab.doorWire.reset();
  await lab.service.untilBack("door", before);
  await callBy(lab, relayed);
  const since = Date.now();
  // An allocation lives 600 s and is refreshed before that; the credentials are long dead by then.
  await lasting(60_000);
  const times = await lab.flowing(since, WHOLE_MS);
  await lab.sound();
  return times;
});
