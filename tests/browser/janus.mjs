// A real media server: Debian's Janus with one video room, and the few lines of WHIP in front of it that Janus leaves to
// others. The room is what a house with many viewers would have.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, until } from "./wait.mjs";

const ROOM = 1234;
const START_MS = 20_000;
const ANSWER_MS = 15_000;
const EXIT_MS = 5_000;

export class Janus {
  #child = null;
  #out = "";
  #server = null;
  #resources = new Map();
  /** What the endpoint was asked: method, whether the bearer was right, and what it said. */
  asked = [];
  /** The endpoint says this instead of taking a stream, while set. */
  refuses = null;
  /** The endpoint takes no stream before this is done. */
  holds = null;

  /** @param {{token: string}} wishes what the endpoint wants as bearer */
  static async start({ token }) {
    const janus = new Janus();
    janus.token = token;
    janus.folder = mkdtempSync(join(tmpdir(), "intercomd-janus-"));
    const port = await freePort();
    janus.api = `http://127.0.0.1:${port}/janus`;
    const put = (name, text) => writeFileSync(join(janus.folder, name), text);
    put("janus.jcfg", `general: { configs_folder = "${janus.folder}"\n debug_level = 4\n server_name = "test" }
nat: { ice_ignore_list = "vmnet" }\nmedia: { dtls_timeout = 500 }
plugins: { disable = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_echotest.so,libjanus_lua.so,libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_voicemail.so" }
transports: { disable = "libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so,libjanus_websockets.so" }\n`);
    put("janus.transport.http.jcfg", `general: { json = "compact"\n base_path = "/janus"\n http = true\n port = ${port}\n ip = "127.0.0.1"\n https = false }
admin: { admin_http = false\n admin_https = false }\n`);
    put("janus.plugin.videoroom.jcfg", `room-${ROOM}: { description = "doors"\n publishers = 8\n videocodec = "h264"\n audiocodec = "opus"\n fir_freq = 10 }\n`);
    try {
      await janus.#begin();
    } catch (error) {
      await janus.stop();
      throw error;
    }
    return janus;
  }

  async #begin() {
    this.#child = spawn("janus", ["-F", this.folder, "-C", join(this.folder, "janus.jcfg"), "-o"], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream.on("data", (data) => (this.#out = (this.#out + data).slice(-100_000)));
    await until(() => fetch(`${this.api}/info`).then((answer) => answer.ok, () => false), "Janus", START_MS, () => this.#out.slice(-3000));
    this.#server = createServer((request, response) => void this.#whip(request, response)).listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.endpoint = `http://127.0.0.1:${this.#server.address().port}/whip/door`;
  }

  async stop() {
    this.#server?.closeAllConnections();
    this.#server?.close();
    const lives = () => this.#child.exitCode === null && this.#child.signalCode === null;
    if (lives()) {
      this.#child.kill("SIGTERM");
      await until(() => !lives(), "the end of Janus", EXIT_MS).catch(() => this.#child.kill("SIGKILL"));
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  get log() {
    return this.#out.slice(-3000);
  }

  /** WHIP as RFC 9725 has it, as far as a door needs it. */
  async #whip(request, response) {
    const parts = [];
    try {
      for await (const part of request) parts.push(part);
    } catch {
      // The door went away in the middle of it.
      return;
    }
    const known = request.headers.authorization === `Bearer ${this.token}`;
    const say = (status, headers = {}, body = "") => {
      this.asked.push({ method: request.method, known, status, type: request.headers["content-type"] ?? null });
      response.writeHead(status, headers).end(body);
    };
    try {
      if (!known) return say(401);
      if (request.method === "DELETE") {
        const handle = this.#resources.get(request.url);
        this.#resources.delete(request.url);
        await handle?.end();
        return say(handle ? 200 : 404);
      }
      if (this.refuses) return say(this.refuses);
      if (this.holds) await this.holds;
      if (request.method !== "POST" || request.headers["content-type"] !== "application/sdp") return say(415);
      const handle = await Handle.attach(this.api);
      const jsep = { type: "offer", sdp: Buffer.concat(parts).toString() };
      const event = await handle.ask({ request: "joinandconfigure", room: ROOM, ptype: "publisher", display: "door" }, jsep);
      if (!event.jsep) throw new Error(`Janus gives no answer: ${JSON.stringify(event)}`);
      const resource = `/whip/resource/${randomBytes(8).toString("hex")}`;
      this.#resources.set(resource, handle);
      return say(201, { "content-type": "application/sdp", location: resource }, event.jsep.sdp);
    } catch (error) {
      return say(500, {}, error.message);
    }
  }

  /** Who publishes in the room. */
  async publishers() {
    const handle = await Handle.attach(this.api);
    const { participants } = await handle.ask({ request: "listparticipants", room: ROOM });
    await handle.end();
    return participants.filter(({ publisher }) => publisher).map(({ id }) => id);
  }

  /** A viewer of the room's only publisher: `answer` turns an offer into an answer. */
  async view(answer) {
    const [feed] = await this.publishers();
    const handle = await Handle.attach(this.api);
    const { jsep } = await handle.ask({ request: "join", room: ROOM, ptype: "subscriber", streams: [{ feed }] });
    await handle.ask({ request: "start" }, { type: "answer", sdp: await answer(jsep.sdp) });
    return handle;
  }
}

/** One handle of the video room's, over Janus's HTTP interface. */
class Handle {
  #base = "";
  #keepalive = null;

  static async attach(api) {
    const handle = new Handle();
    const { data } = await post(api, { janus: "create" });
    handle.session = `${api}/${data.id}`;
    const { data: plugin } = await post(handle.session, { janus: "attach", plugin: "janus.plugin.videoroom" });
    handle.#base = `${handle.session}/${plugin.id}`;
    handle.#keepalive = setInterval(() => void post(handle.session, { janus: "keepalive" }).catch(() => {}), 20_000).unref();
    return handle;
  }

  /** Asks the room, and waits for what it says; with a description, for one in return. */
  async ask(body, jsep) {
    const first = await post(this.#base, { janus: "message", body, ...(jsep && { jsep }) });
    if (first.janus === "success") return first.plugindata.data;
    const deadline = Date.now() + ANSWER_MS;
    while (Date.now() < deadline) {
      const event = await (await fetch(`${this.session}?maxev=1`, { signal: AbortSignal.timeout(ANSWER_MS) })).json();
      if (event.janus === "event" && event.plugindata) {
        const { data } = event.plugindata;
        if (data.error) throw new Error(data.error);
        return { ...data, jsep: event.jsep };
      }
    }
    throw new Error(`Janus says nothing to ${body.request}`);
  }

  async end() {
    clearInterval(this.#keepalive);
    await post(this.session, { janus: "destroy" }).catch(() => {});
  }
}

async function post(url, words) {
  const transaction = randomBytes(6).toString("hex");
  const answer = await fetch(url, { method: "POST", body: JSON.stringify({ ...words, transaction }), signal: AbortSignal.timeout(ANSWER_MS) });
  const said = await answer.json();
  if (said.janus === "error") throw new Error(`Janus: ${said.error.reason}`);
  return said;
}
