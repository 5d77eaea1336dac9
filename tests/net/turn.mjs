// A real TURN and STUN server (coturn) in the wide area, with a certificate of an authority made for this run.

import { createHmac } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { certify } from "../browser/authority.mjs";
import { until, within } from "../browser/wait.mjs";
import { SERVICE } from "./topology.mjs";

const PROGRAM = "/usr/bin/turnserver";
const BUNDLE = "/etc/ssl/certs/ca-certificates.crt";
const PORT = 3478;
const TLS_PORT = 443;
const START_MS = 10_000;

export class Turn {
  #net;
  #folder;
  #child = null;
  #exited;
  #log = "";
  #secret = "first secret";

  static async start(net, folder) {
    if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: tools/setup.sh test installs it`);
    const turn = new Turn();
    turn.#net = net;
    turn.#folder = join(folder, "turn");
    mkdirSync(turn.#folder);
    certify(turn.#folder, [net.serviceAddress, net.router("door")].map((address) => `IP:${address}`));
    /** Files of the certificate, for whoever else needs one that the door trusts. */
    turn.certificate = { cert: join(turn.#folder, "server.crt"), key: join(turn.#folder, "server.key") };
    turn.bundle = join(turn.#folder, "bundle.crt");
    writeFileSync(turn.bundle, (existsSync(BUNDLE) ? readFileSync(BUNDLE, "utf8") : "") + readFileSync(join(turn.#folder, "ca.crt"), "utf8"));
    await turn.up();
    return turn;
  }

  get log() {
    return this.#log;
  }

  async up() {
    const file = join(this.#folder, "turnserver.conf");
    writeFileSync(file, settings(this.#folder, this.#net.serviceAddress, this.#secret));
    this.#log = "";
    this.#child = this.#net.start("wan", [PROGRAM, "-c", file], { stdio: ["ignore", "pipe", "pipe"], cwd: this.#folder });
    const keep = (data) => (this.#log = (this.#log + data).slice(-100_000));
    this.#child.stdout.on("data", keep);
    this.#child.stderr.on("data", keep);
    this.#exited = new Promise((resolve) => this.#child.on("exit", resolve));
    await until(() => this.#listens(), "the TURN server listening", START_MS, () => this.#log);
  }

  /** Whether all its ports are open. */
  #listens() {
    const open = this.#net.run("wan", "ss", "-Hlntu");
    return [`udp.*:${PORT} `, `tcp.*:${PORT} `, `tcp.*:${TLS_PORT} `].every((port) => new RegExp(port).test(open));
  }

  async down() {
    if (!this.#child) return;
    this.#child.kill("SIGKILL");
    await within(this.#exited, "the TURN server's end", START_MS);
    this.#child = null;
  }

  /** Dies and comes back: every allocation is gone. */
  async restart() {
    await this.down();
    await this.up();
  }

  /** Credentials given until now are worth nothing at the next start. */
  forget() {
    this.#secret = `another secret ${Date.now()}`;
  }

  /** An entry for `iceServers`, with credentials good for so many seconds. */
  server(kinds, seconds = 3600) {
    const host = this.#net.service;
    const urls = {
      stun: `stun:${host}:${PORT}`,
      udp: `turn:${host}:${PORT}?transport=udp`,
      tcp: `turn:${host}:${PORT}?transport=tcp`,
      tls: `turns:${host}:${TLS_PORT}?transport=tcp`,
    };
    const username = `${Math.floor(Date.now() / 1000) + seconds}:lab`;
    return { urls: kinds.map((kind) => urls[kind]), username, credential: createHmac("sha1", this.#secret).update(username).digest("base64") };
  }
}

function settings(folder, address, secret) {
  const relays = new Set([address, SERVICE.v4]);
  return `listening-ip=${address}
${[...relays].map((relay) => `relay-ip=${relay}`).join("\n")}
listening-port=${PORT}
tls-listening-port=${TLS_PORT}
min-port=50000
max-port=51000
realm=lab.example
use-auth-secret
static-auth-secret=${secret}
cert=${join(folder, "server.crt")}
pkey=${join(folder, "server.key")}
fingerprint
verbose
no-cli
no-dtls
no-rfc5780
simple-log
log-file=stdout
pidfile=${join(folder, "pid")}
userdb=${join(folder, "db")}
`;
}
