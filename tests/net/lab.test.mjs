// The lab judged by itself: routers do what their names say, and what is cut is cut.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SERVICE, Topology } from "./topology.mjs";

const TEST_MS = 60_000;
/** Prints the address a datagram came from, and answers it from the same port and, if asked, from another. */
const ECHO = `
const dgram = require("node:dgram");
const [a, b] = [dgram.createSocket("udp4"), dgram.createSocket("udp4")];
const answer = (socket) => socket.on("message", (data, from) => {
  const text = JSON.stringify(from);
  (data == "other" ? (socket === a ? b : a) : socket).send(text, from.port, from.address);
});
answer(a); answer(b);
a.bind(7001, () => b.bind(7002, () => console.log("ready")));
`;
/** Asks both ports of the echo from one socket; prints what came back. */
const ASK = `
const socket = require("node:dgram").createSocket("udp4");
const heard = [];
socket.on("message", (data, from) => heard.push({ seen: JSON.parse(data).port, by: from.port, as: JSON.parse(data).address }));
socket.bind(6000, () => {
  const say = (text, port) => socket.send(text, port, process.argv[1]);
  const words = JSON.parse(process.argv[2]);
  for (const [text, port] of words) { say(text, port); }
  setTimeout(() => { console.log(JSON.stringify(heard)); process.exit(); }, 700);
});
`;

async function withEcho(kind, use) {
  const net = Topology.make({ door: kind, phone: "routed" });
  const echo = net.start("wan", [process.execPath, "-e", ECHO], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await new Promise((resolve) => echo.stdout.once("data", resolve));
    return await use(net, (...words) => JSON.parse(net.run("door", process.execPath, "-e", ASK, SERVICE.v4, JSON.stringify(words))));
  } finally {
    echo.kill("SIGKILL");
    net.destroy();
  }
}

const mappings = (heard) => new Set(heard.map(({ seen }) => seen)).size;

describe("a router", () => {
  test("without NAT shows the house's own address", { timeout: TEST_MS }, () =>
    withEcho("routed", (_, ask) => {
      assert.deepEqual(ask(["hello", 7001]), [{ seen: 6000, by: 7001, as: "192.168.7.2" }]);
    }));

  test("of the kind full cone keeps one mapping and lets anybody use it", { timeout: TEST_MS }, () =>
    withEcho("full-cone", (_, ask) => {
      const heard = ask(["other", 7001]);
      assert.deepEqual(heard, [{ seen: 6000, by: 7002, as: "203.0.113.20" }]);
    }));

  test("of the kind port-restricted keeps one mapping and lets nobody in who was not asked", { timeout: TEST_MS }, () =>
    withEcho("port-restricted", (_, ask) => {
      assert.deepEqual(ask(["other", 7001]), []);
      assert.equal(mappings(ask(["hello", 7001], ["hello", 7002])), 1);
    }));

  test("of the kind port-restricted keeps its mapping when the other side knocked first", { timeout: TEST_MS }, () =>
    withEcho("port-restricted", (net, ask) => {
      net.run("wan", process.execPath, "-e", `const s=require("node:dgram").createSocket("udp4");s.bind(7003,()=>s.send("x",6000,"203.0.113.20",()=>s.close()))`);
      const [{ seen }] = ask(["hello", 7001]);
      assert.equal(seen, 6000);
    }));

  test("of the kind symmetric makes a mapping of its own for each destination", { timeout: TEST_MS }, () =>
    withEcho("symmetric", (_, ask) => {
      const heard = ask(["hello", 7001], ["hello", 7002]);
      assert.equal(heard.length, 2);
      assert.equal(mappings(heard), 2);
    }));

  test("that blocks UDP passes none", { timeout: TEST_MS }, () =>
    withEcho("no-udp", (_, ask) => {
      assert.deepEqual(ask(["hello", 7001]), []);
    }));

  test("drops one direction alone, and passes again", { timeout: TEST_MS }, () =>
    withEcho("routed", (net, ask) => {
      net.dropUdp("door", "in");
      assert.deepEqual(ask(["hello", 7001]), []);
      net.dropUdp("door", "out");
      assert.deepEqual(ask(["hello", 7001]), []);
      net.passUdp("door");
      assert.equal(ask(["hello", 7001]).length, 1);
    }));

  test("loses the share of datagrams it is told to", { timeout: TEST_MS }, () =>
    withEcho("routed", (net, ask) => {
      net.dropUdp("door", "out", 20);
      // Few enough for the receiver's buffer: what is lost is lost by the router.
      const heard = ask(...Array.from({ length: 200 }, () => ["hello", 7001])).length;
      assert.ok(heard > 120 && heard < 195, `${heard} of 200 came through`);
    }));

  test("keeps the house on line when it moves to another subnet", { timeout: TEST_MS }, () =>
    withEcho("port-restricted", (net, ask) => {
      net.move("door");
      assert.match(net.run("door", "ip", "address"), /192\.168\.8\.2/);
      assert.equal(ask(["hello", 7001]).length, 1);
    }));
});
