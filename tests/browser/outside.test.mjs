// What the house outside hears of a call, through the real daemon: a web address, a program, a real MQTT broker.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { Door } from "./door.mjs";
import { freePort, until } from "./wait.mjs";

const SECRET = "a-secret-of-sixteen-letters-or-more";
const TEST_MS = 90_000;
const SOON_MS = 20_000;

/** A web address that keeps what it is sent. */
class Receiver {
  deliveries = [];

  async start() {
    this.server = createServer(async (request, response) => {
      const parts = [];
      for await (const part of request) parts.push(part);
      this.deliveries.push({ headers: request.headers, body: Buffer.concat(parts).toString() });
      response.end();
    }).listen(0, "127.0.0.1");
    await once(this.server, "listening");
    this.url = `http://127.0.0.1:${this.server.address().port}/door`;
  }

  get events() {
    return this.deliveries.map(({ body }) => JSON.parse(body));
  }

  until(event) {
    return until(() => this.events.find((one) => one.event === event), `“${event}” at the web address`, SOON_MS, () => JSON.stringify(this.events));
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

/** A real broker, and somebody who listens to everything there. */
class Broker {
  #children = [];
  said = [];

  async start(folder) {
    this.port = await freePort();
    const config = join(folder, "broker.conf");
    writeFileSync(config, `listener ${this.port} 127.0.0.1\nallow_anonymous true\n`);
    this.#children.push(spawn(existsSync("/usr/sbin/mosquitto") ? "/usr/sbin/mosquitto" : "mosquitto", ["-c", config], { stdio: "ignore" }));
    await until(() => this.#answers(), "the broker", SOON_MS);
    const listener = this.#client("mosquitto_sub", ["-v", "-t", "#"]);
    createInterface(listener.stdout).on("line", (line) => {
      const at = line.indexOf(" ");
      this.said.push({ topic: line.slice(0, at), text: line.slice(at + 1) });
    });
  }

  #answers() {
    return new Promise((resolve) => {
      const socket = connect(this.port, "127.0.0.1", () => (socket.destroy(), resolve(true)));
      socket.on("error", () => resolve(false));
    });
  }

  #client(program, words) {
    const child = spawn(program, ["-h", "127.0.0.1", "-p", String(this.port), ...words], { stdio: ["ignore", "pipe", "inherit"] });
    this.#children.push(child);
    return child;
  }

  async say(topic, text, ...more) {
    await once(this.#client("mosquitto_pub", ["-t", topic, "-m", text, ...more]), "exit");
  }

  until(topic, text) {
    return until(() => this.said.find((one) => one.topic.endsWith(topic) && text.test(one.text)), `${text} on ${topic}`, SOON_MS, () => JSON.stringify(this.said.map(({ topic, text }) => `${topic} ${text.slice(0, 80)}`)));
  }

  stop() {
    for (const child of this.#children) child.kill("SIGKILL");
  }
}

describe("the house outside", { timeout: TEST_MS }, () => {
  const receiver = new Receiver();
  const broker = new Broker();
  let folder;
  let door;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "intercomd-outside-"));
    await receiver.start();
    await broker.start(folder);
    writeFileSync(join(folder, "webhook.secret"), `${SECRET}\n`, { mode: 0o600 });
    writeFileSync(join(folder, "note.sh"), `#!/bin/sh\necho "$INTERCOMD_EVENT $INTERCOMD_CALL" >>${join(folder, "notes")}\n`, { mode: 0o755 });
    door = await Door.start({
      rules: 'no_answer = "5s"',
      more: `
[[hooks.command]]
on = ["ring", "missed"]
run = ["${join(folder, "note.sh")}"]

[[hooks.webhook]]
url = "${receiver.url}"
on = ["ring", "picture", "missed", "opened"]
secret_file = "${join(folder, "webhook.secret")}"

[hooks.mqtt]
url = "mqtt://127.0.0.1:${broker.port}"
allow_open = true

[relay]
line = "RELAY"
safe = "off"
pulse = "500ms"
max_pulse = "1s"
`,
    });
  });
  after(async () => {
    await door?.stop();
    broker.stop();
    receiver.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test("hears of a ring, sees the visitor, and hears that nobody came", { timeout: TEST_MS }, async () => {
    await broker.until("/config", /doorbell/);
    await door.press();
    const ring = await receiver.until("ring");
    const picture = await receiver.until("picture");
    const missed = await receiver.until("missed");
    assert.equal(picture.call, ring.call);
    assert.deepEqual([missed.call, missed.cause], [ring.call, "no-answer"]);
    assert.equal(readFileSync(picture.picture).subarray(0, 2).toString("hex"), "ffd8", "a JPEG lies there");
    for (const { headers, body } of receiver.deliveries) {
      const signed = createHmac("sha256", SECRET).update(`${headers["x-intercomd-timestamp"]}.${body}`).digest("hex");
      assert.equal(headers["x-intercomd-signature"], `v1=${signed}`);
    }
    await until(() => existsSync(join(folder, "notes")) && readFileSync(join(folder, "notes"), "utf8").includes("missed"), "the program's notes", SOON_MS);
    assert.equal(readFileSync(join(folder, "notes"), "utf8"), `ring ${ring.call}\nmissed ${ring.call}\n`);
    await broker.until("/press", /ring/);
    const { hooks } = await door.until(({ hooks }) => hooks.length === 3 && hooks.every(({ sent, waiting }) => sent > 0 && waiting === 0), "all three told");
    for (const hook of hooks) assert.deepEqual([hook.error, hook.failed, hook.dropped], [null, 0, 0], hook.name);
    await door.untilIdle();
  });

  test("opens the door by the home automation where the owner allows it, for one pulse, and hears who it was", { timeout: TEST_MS }, async () => {
    const { topic } = await broker.until("/config", /open\/set/);
    assert.ok(topic);
    const command = JSON.parse(broker.said.find(({ text }) => text.includes("open/set")).text).command_topic;
    await broker.say(command, "open sesame");
    await broker.say(command, "OPEN");
    const opened = await receiver.until("opened");
    assert.deepEqual([opened.by, opened.for_ms], ["automation", 500]);
    const { counters } = await door.until(({ door }) => door === "locked", "the door locked again");
    assert.equal(counters.openings, 1, "the wrong word opened nothing");
  });
});
