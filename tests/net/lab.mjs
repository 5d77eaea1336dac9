// One call across the networks of the lab: a door behind its router, a phone behind another, the double of the
// service and a TURN server between them, and what it takes to break and to judge it.

import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Door, CHANNEL, callState } from "../browser/door.mjs";
import { Phone, serveTutorial } from "../browser/phone.mjs";
import { until } from "../browser/wait.mjs";
import { record } from "./results.mjs";
import { CALM_MS, Senses } from "./senses.mjs";
import { KEYS, Service } from "./service.mjs";
import { SERVICE, SIGNALLING_PORT, Topology } from "./topology.mjs";
import { Turn } from "./turn.mjs";
import { lay } from "./wire.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const LOGS = resolve(HERE, "../../target/net-logs");
const PAGE_PORT = 18081;
const START_MS = 60_000;
const ROW_MS = 240_000;

/** "within 5 s after the network is whole again", with room for a machine that does other things too. */
export const WHOLE_MS = 5_000 * Number(process.env.NET_PATIENCE ?? 3);

/** Whether only the rows that matter most are run, one role each. */
export const SHORT = process.env.NET_SELECT === "short";
const ONLY = process.env.NET_ROW ? new RegExp(process.env.NET_ROW) : null;

export class Lab {
  /**
   * @param {{role?: "polite" | "impolite", door?: string, phone?: string, family?: "v4" | "v6",
   *   doorServers?: string[], phoneServers?: string[], rules?: string, more?: string}} wishes
   *   `role`: the door's; `door`, `phone`: kinds of routers; `doorServers`, `phoneServers`: of "stun", "udp",
   *   "tcp", "tls"; `rules`, `more`: for the door's configuration; `tokenSeconds`: the door logs in by tokens that
   *   are good for so long; `phoneId`: one id for all sockets of the phone
   */
  static async start({ role = "polite", door = "routed", phone = "routed", family, doorServers = [], phoneServers = [], rules = "", more = "", tokenSeconds, phoneId } = {}) {
    const lab = new Lab();
    lab.role = role;
    lab.folder = mkdtempSync(join(tmpdir(), "intercomd-net-"));
    try {
      await lab.#start({ door, phone, family, doorServers, phoneServers, rules, more, tokenSeconds, phoneId });
    } catch (error) {
      await lab.stop();
      throw error;
    }
    return lab;
  }

  #wires = [];

  async #start({ door, phone, family, doorServers, phoneServers, rules, more, tokenSeconds, phoneId }) {
    this.net = Topology.make({ door, phone, family });
    const kinds = { door: doorServers, phone: phoneServers };
    this.turn = await Turn.start(this.net, this.folder);
    /** How long the credentials given from now on are good, in seconds. */
    this.credentialSeconds = 3600;
    const path = (name) => join(this.folder, name);
    this.service = await Service.start(path("service.sock"), {
      doorPolite: this.role === "polite",
      phoneId,
      iceServers: (who) => (kinds[who].length ? [this.turn.server(kinds[who], this.credentialSeconds)] : []),
    });
    this.site = await serveTutorial({ path: path("page.sock") });
    const outside = { host: this.net.serviceAddress, port: SIGNALLING_PORT };
    const near = { host: "127.0.0.1", port: SIGNALLING_PORT };
    const wire = async (...words) => {
      const laid = await lay(this.net, ...words);
      this.#wires.push(laid);
      return laid;
    };
    await wire("wan", outside, { path: path("service.sock") });
    await wire("phone", { host: "127.0.0.1", port: PAGE_PORT }, { path: path("page.sock") });
    // In the router, as the door's own address has to count; the page of the phone needs a secure context.
    this.doorWire = await wire("doornat", { host: this.net.router("door"), port: SIGNALLING_PORT }, outside, this.turn.certificate);
    this.phoneWire = await wire("phone", near, outside);
    const trusting = ["sh", "-c", `mount --bind "$0" /etc/ssl/certs/ca-certificates.crt && exec "$@"`, this.turn.bundle];
    const url = `ws://127.0.0.1:${SIGNALLING_PORT}`;
    const router = this.net.router("door");
    const atRouter = `wss://${router.includes(":") ? `[${router}]` : router}:${SIGNALLING_PORT}`;
    this.door = await Door.start({
      service: tokenSeconds ? { url: atRouter, tokenCommand: this.#backend(tokenSeconds) } : { url: atRouter, key: KEYS.door },
      rules,
      more,
      inside: [...this.net.inside("door"), ...trusting],
    });
    const browser = path("browser");
    writeFileSync(browser, `#!/bin/sh\nexec ${this.net.inside("phone").join(" ")} "${process.env.CHROMIUM ?? "/usr/bin/chromium"}" "$@"\n`);
    chmodSync(browser, 0o755);
    this.phone = await Phone.open({ program: browser });
    await Senses.prepare(this.phone);
    const query = new URLSearchParams({ channel: CHANNEL, key: KEYS.phone, url });
    await this.phone.page.goto(`http://127.0.0.1:${PAGE_PORT}/?${query}`);
    await this.door.until((status) => uplink(status).state === "connected", "connected to the service", START_MS);
    this.senses = new Senses(this.door, this.phone);
  }

  /** A program that signs a token each time it is run, as the owner's backend would. */
  #backend(seconds) {
    const file = join(this.folder, "backend.mjs");
    const sub = this.role === "polite" ? "-door" : "zdoor";
    writeFileSync(
      file,
      `import { token } from ${JSON.stringify(join(HERE, "service.mjs"))};
console.log(token({ sub: "${sub}", who: "door", exp: Math.floor(Date.now() / 1000) + ${seconds}, peerMetadata: { name: "front" } }));\n`,
    );
    return [process.execPath, file];
  }

  /** Rings, joins, and waits until pictures and sound go both ways. */
  async call(ms = START_MS) {
    await this.join();
    await this.door.press();
    const pressed = Date.now();
    const times = await this.flowing(pressed, ms);
    // Without an interruption worth the name it is the first moment that tells how long the set-up took.
    return Object.fromEntries(Object.entries(times).map(([sense, at]) => [sense, at || this.senses.first(sense, pressed)]));
  }

  /** The phone's page enters the channel. */
  async join() {
    await this.phone.page.click("#start");
    await until(async () => (await this.phone.page.innerText("#note")) !== "", "the page's join", START_MS);
  }

  /**
   * Waits until pictures and sound go on without a stall at both ends.
   *
   * @param {number} since the moment the times of the answer count from
   * @param {number} ms
   * @param {() => any} also what has to be true as well before anything is judged
   * @returns {Promise<Record<string, number>>} for each sense when its longest gap ended, in ms after `since`
   */
  async flowing(since, ms, also = () => true) {
    // Judged only when it has gone on for a while after all else was true: a short gap may be just beginning.
    let settled = null;
    await until(
      async () => {
        settled = (await also()) ? (settled ?? Date.now()) : null;
        return settled !== null && Date.now() - settled > CALM_MS && this.senses.senses.every((sense) => this.senses.flows(sense));
      },
      "pictures and sound both ways",
      ms,
      () => this.tell(),
    );
    return Object.fromEntries(this.senses.senses.map((sense) => [sense, this.senses.resumed(sense, since)]));
  }

  /**
   * One present link to the phone, one call since the start, the right picture at both ends.
   *
   * @param {number} ms how long a ghost of the phone may stay beside it
   */
  async sound(ms = WHOLE_MS) {
    const status = await this.door.until(
      ({ peers, counters }) => peers.length === 1 && peers[0].link === "connected" && counters.links_open === 1,
      "one peer with one link",
      ms,
    );
    assert.equal(status.counters.calls, 1, "the door rang once");
    assert.equal(callState(status), "talking");
    await this.phone.untilVisitorSeen("#theirs");
    await until(() => this.door.displayColour(), "the phone's colours at the door", WHOLE_MS);
    return status;
  }

  /** The two ends of the path the phone uses: of the kind host, srflx, prflx or relay, and their addresses. */
  async path() {
    const path = await this.phone.page.evaluate(async () => {
      for (const connection of window.connections.toReversed()) {
        const stats = [...(await connection.getStats()).values()];
        const chosen = stats.find(({ type }) => type === "transport")?.selectedCandidatePairId;
        const pair = stats.find(({ id }) => id === chosen);
        if (!pair) continue;
        const kind = (id) => stats.find((one) => one.id === id);
        const [local, remote] = [kind(pair.localCandidateId), kind(pair.remoteCandidateId)];
        return { phone: local.candidateType, door: remote.candidateType, protocol: local.protocol, phoneAddress: local.address, doorAddress: remote.address };
      }
      return null;
    });
    // A check may come through the relay before the candidate that announces it.
    if (Object.values(SERVICE).includes(path?.doorAddress)) path.door = "relay";
    return path;
  }

  /** For the report of a failure. */
  async tell() {
    const browser = await this.phone.page
      .evaluate(() => window.connections.map((one) => `${one.signalingState}/${one.iceConnectionState}/${one.connectionState}/${one.iceGatheringState}`))
      .catch(({ message }) => message);
    const { state, peers, counters, uplinks } = await this.door.status().catch(({ message }) => ({ state: message }));
    const ear = await this.phone.page.evaluate(() => window.tellEar?.()).catch(() => "the page does not answer");
    return `${this.senses.tell()}; ${ear}; browser ${JSON.stringify(browser)}; door ${JSON.stringify({ state, peers, counters, uplinks })}`;
  }

  /** Writes down everything known, for the one who looks for the cause. */
  keep(name, error) {
    mkdirSync(LOGS, { recursive: true });
    const file = join(LOGS, `${name.replace(/\W+/g, "-")}.log`);
    const parts = { error: error.message, "page errors": this.phone?.errors?.join("\n"), service: this.service?.trace.join("\n"), turn: this.turn?.log, door: this.door?.wholeLog };
    writeFileSync(file, Object.entries(parts).map(([part, text]) => `==== ${part}\n${text ?? ""}\n`).join(""));
    return file;
  }

  async stop() {
    const wrong = [];
    for (const step of [() => this.senses?.stop(), () => this.phone?.close(), () => this.door?.stop(), () => this.site?.close(), () => this.service?.stop(), () => this.turn?.down(), () => this.#wires.forEach((wire) => wire.close()), () => this.net?.destroy()]) {
      await Promise.resolve().then(step).catch((error) => wrong.push(error));
    }
    rmSync(this.folder, { recursive: true, force: true });
    if (wrong.length) throw wrong[0];
  }
}

/** The service's uplink in a status. */
export function uplink(status) {
  return status.uplinks.find(({ name }) => name === "service");
}

/**
 * A row of the table: a call, something that happens to it, and the time until it is whole.
 *
 * @param {string} name
 * @param {object} wishes of `Lab.start`; `short`: part of the short selection; `roles`: both unless named;
 *   `ms`: limit of the test; `group`: part of the table; `todo`: why it is known to fail
 * @param {(lab: Lab) => Promise<Record<string, number> | void>} run gives the times, or nothing if the row has none
 */
export function row(name, { short = false, roles = ["polite", "impolite"], group, ms = ROW_MS, todo = false, ...wishes }, run) {
  if ((SHORT && !short) || (ONLY && !ONLY.test(name))) return;
  for (const role of SHORT ? roles.slice(0, 1) : roles) {
    test(`${name} (door ${role})`, { timeout: ms, todo }, async (t) => {
      const lab = await Lab.start({ role, ...wishes });
      try {
        const times = await run(lab);
        if (times) t.diagnostic(JSON.stringify(times));
        if (process.env.NET_KEEP) lab.keep(`${name} ${role}`, new Error("kept"));
        record({ group, name, role, times: times ?? {} });
      } catch (error) {
        const file = lab.keep(`${name} ${role}`, error);
        record({ group, name, role, failed: error.message.split("; seen")[0].slice(0, 200) });
        error.message += `\n(${file})`;
        throw error;
      } finally {
        await lab.stop();
      }
    });
  }
}

/** Lets a fault last. */
export function lasting(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
