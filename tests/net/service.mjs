// A double of the signalling service, written from docs/protocol.md, that makes mistakes on command. Not the
// service: what is marked "?" there is a guess here too. Listens on a path; wires carry it into the namespaces.

import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import { rmSync } from "node:fs";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { until } from "../browser/wait.mjs";

const MAX_FRAME = 65_536;
const LIVENESS_MS = { every: 30_000, grace: 10_000 };
/** The service closes a socket so long before its token expires. */
const EXPIRY_MARGIN_MS = 250;
const DELAY_MS = 3_000;
/** How long a frame that is to be overtaken waits for one that overtakes it. */
const OVERTAKE_MS = 1_000;

/** Keys of the double: who comes with which is known by them. */
export const KEYS = { door: "pk_live_test_door", phone: "pk_live_test_phone" };
export const TOKEN_SECRET = "test-secret-of-the-double";

/** A token as the owner's backend would sign it. */
export function token(claims, secret = TOKEN_SECRET) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const body = `${part({ alg: "HS256", typ: "JWT", kid: "sk_id_test" })}.${part(claims)}`;
  return `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
}

export class Service {
  #members = new Map();
  #channels = new Map();
  #tampers = [];
  #server;
  #sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_FRAME });
  #down = false;

  /** Every welcome given, oldest first: `{who, peerId, at}`. */
  welcomed = [];
  /** Frames that passed, for the report of a failure: the newest 400. */
  trace = [];

  /**
   * @param {string} path where it listens
   * @param {{doorPolite: boolean, phoneId?: string, iceServers: (who: string) => object[] | undefined}} wishes
   */
  static async start(path, { doorPolite, phoneId, iceServers }) {
    const service = new Service();
    service.doorPolite = doorPolite;
    service.phoneId = phoneId;
    service.iceServers = iceServers;
    rmSync(path, { force: true });
    service.#server = createServer((_, response) => response.writeHead(404).end());
    service.#server.on("upgrade", (request, socket, head) => {
      if (service.#down) return socket.destroy();
      if (new URL(request.url, "http://x").pathname !== "/v1") return socket.end("HTTP/1.1 404 Not Found\r\n\r\n");
      service.#sockets.handleUpgrade(request, socket, head, (line) => service.#greet(line, new URL(request.url, "http://x").searchParams));
    });
    await new Promise((resolve) => service.#server.listen(path, resolve));
    return service;
  }

  stop() {
    for (const member of this.#members.values()) member.line.terminate();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** Ids in use by the door or the phone, newest last. */
  idsOf(who) {
    return this.welcomed.filter((entry) => entry.who === who).map(({ peerId }) => peerId);
  }

  /** Waits until this side has been welcomed more than `before` times. */
  untilBack(who, before, ms = 30_000) {
    return until(() => this.idsOf(who).length > before, `a new welcome for the ${who}`, ms);
  }

  /** Closes the newest socket of a side with a code. */
  close(who, code, reason = "test") {
    for (const member of this.#of(who)) {
      this.#leave(member);
      member.line.close(code, reason);
    }
  }

  /** Goes away politely and comes back after `ms`. */
  async restart(ms, retryAfterMs = 1000) {
    const members = [...this.#members.values()];
    for (const member of members) this.#send(member, { type: "going_away", retryAfterMs });
    this.#down = true;
    for (const member of members) {
      this.#members.delete(member.peerId);
      member.line.close(1001, "going away");
    }
    this.#channels.clear();
    await new Promise((resolve) => setTimeout(resolve, ms));
    this.#down = false;
  }

  /**
   * Does something to frames that match.
   *
   * @param {{who: "door" | "phone", way: "from" | "to", is: (frame: object) => boolean,
   *   act: "lose" | "double" | "delay" | "overtake", times?: number}} wish `way` seen from that side: `from` it to
   *   the service, or `to` it
   * @returns {{hits: number, stop: () => void}}
   */
  tamper({ times = 1, ...wish }) {
    const entry = { ...wish, left: times, hits: 0, stop: () => (entry.left = 0) };
    this.#tampers.push(entry);
    return entry;
  }

  #of(who) {
    return [...this.#members.values()].filter((member) => member.who === who);
  }

  #greet(line, query) {
    const who = Object.keys(KEYS).find((name) => KEYS[name] === query.get("key"));
    const claims = who ? null : readToken(query.get("token"));
    const now = Math.floor(Date.now() / 1000);
    if (!who && !claims) return line.close(4001, "no valid key or token");
    if (claims?.exp <= now) return line.close(4002, "token expired");
    const member = {
      line,
      who: who ?? claims.who ?? "door",
      peerId: claims?.sub ?? this.#freshId(who),
      metadata: claims?.peerMetadata,
      held: { from: null, to: null },
    };
    const older = this.#members.get(member.peerId);
    if (older) this.#leave(older, true);
    this.#members.set(member.peerId, member);
    this.#live(member, claims);
    line.on("message", (data, binary) => binary || this.#through(member, "from", parse(data), (frame) => this.#take(member, frame)));
    line.on("close", () => this.#leave(member));
    line.on("error", () => line.terminate());
    const iceServers = claims?.metadata?.iceServers ?? this.iceServers(member.who);
    this.welcomed.push({ who: member.who, peerId: member.peerId, at: Date.now() });
    this.#send(member, {
      type: "welcome",
      peerId: member.peerId,
      expiresAt: claims?.exp ?? null,
      serverTime: now,
      maxMessageSize: MAX_FRAME,
      metadata: { ...claims?.metadata, ...(iceServers ? { iceServers } : {}) },
    });
  }

  /** A UUID that sorts as the roles of this run want it. */
  #freshId(who) {
    if (who === "phone" && this.phoneId) return this.phoneId;
    const first = who === "phone" ? "8" : this.doorPolite ? "0" : "f";
    return first + randomUUID().slice(1);
  }

  #live(member, claims) {
    const { line } = member;
    let answered = true;
    line.on("pong", () => (answered = true));
    let grace;
    const pulse = setInterval(() => {
      answered = false;
      line.ping();
      grace = setTimeout(() => answered || line.terminate(), LIVENESS_MS.grace);
    }, LIVENESS_MS.every);
    const expiry = claims && setTimeout(() => line.close(4002, "token expired"), Math.max(0, claims.exp * 1000 - Date.now() - EXPIRY_MARGIN_MS));
    line.on("close", () => {
      clearInterval(pulse);
      clearTimeout(grace);
      clearTimeout(expiry);
    });
  }

  #take(member, frame) {
    if (!frame || typeof frame.type !== "string") return this.#refuse(member, frame, "malformed_message");
    const { type, channel, requestId } = frame;
    if (type === "ping") return this.#send(member, { type: "pong" });
    if (type === "subscribe") {
      if (!this.#channels.has(channel)) this.#channels.set(channel, new Set());
      const seats = this.#channels.get(channel);
      const isNew = !seats.has(member);
      seats.add(member);
      this.#ack(member, requestId);
      this.#send(member, { type: "presence", channel, joined: [...seats].filter((one) => one !== member).map(entry), left: [] });
      if (isNew) this.#tell(channel, member, { joined: [entry(member)], left: [] });
    } else if (type === "unsubscribe") {
      if (this.#channels.get(channel)?.delete(member)) this.#tell(channel, member, { joined: [], left: [entry(member)] });
      this.#ack(member, requestId);
    } else if (type === "publish") {
      for (const one of this.#channels.get(channel) ?? []) {
        if (one !== member) this.#send(one, { type: "message", channel, from: member.peerId, data: frame.data });
      }
      this.#ack(member, requestId);
    } else if (type === "send") {
      if (!("data" in frame)) return this.#refuse(member, frame, "missing_data");
      const to = this.#members.get(frame.to);
      if (!to) return this.#refuse(member, frame, "peer_not_found");
      this.#send(to, { type: "direct", from: member.peerId, data: frame.data, ...(member.metadata ? { fromMetadata: member.metadata } : {}) });
      this.#ack(member, requestId);
    } else {
      this.#refuse(member, frame, "unknown_type");
    }
  }

  #ack(member, requestId) {
    if (requestId !== undefined) this.#send(member, { type: "ack", requestId });
  }

  #refuse(member, frame, code) {
    this.#send(member, { type: "error", code, requestId: frame?.requestId, message: code });
  }

  #tell(channel, but, change) {
    for (const one of this.#channels.get(channel) ?? []) {
      if (one !== but) this.#send(one, { type: "presence", channel, ...change });
    }
  }

  #leave(member, silently = false) {
    if (this.#members.get(member.peerId) === member) this.#members.delete(member.peerId);
    for (const [channel, seats] of this.#channels) {
      if (seats.delete(member) && !silently) this.#tell(channel, member, { joined: [], left: [entry(member)] });
    }
    if (silently) member.line.close(1000, "a newer socket has this id");
  }

  #send(member, frame) {
    this.#through(member, "to", frame, (frame) => {
      if (member.line.readyState === member.line.OPEN) member.line.send(JSON.stringify(frame));
    });
  }

  /** Passes a frame on, or does to it what the test wants. */
  #through(member, way, frame, pass) {
    const wish = frame && this.#tampers.find((one) => one.left > 0 && one.who === member.who && one.way === way && one.is(frame));
    this.#note(member, way, frame, wish?.act);
    if (wish) {
      wish.left -= 1;
      wish.hits += 1;
      if (wish.act === "lose") return;
      if (wish.act === "delay") return void setTimeout(pass, DELAY_MS, frame);
      if (wish.act === "overtake") return this.#hold(member, way, frame, pass);
      pass(frame);
    }
    pass(frame);
    const held = member.held[way];
    member.held[way] = null;
    held?.();
  }

  /** Keeps a frame back until the next one of its direction has passed. */
  #hold(member, way, frame, pass) {
    const release = () => {
      clearTimeout(timer);
      pass(frame);
    };
    const timer = setTimeout(() => {
      if (member.held[way] === release) member.held[way] = null;
      pass(frame);
    }, OVERTAKE_MS);
    member.held[way] = release;
  }

  #note(member, way, frame, act) {
    const inner = frame?.data?.description?.type ?? (frame?.data?.type === "rtc-ice" ? `candidate ${frame.data.candidate?.candidate?.split(" ").slice(2, 8).join(" ") ?? "end"}` : "");
    this.trace.push(`${new Date().toISOString().slice(14, 23)} ${way} ${member.who} ${member.peerId.slice(0, 4)} ${frame?.type} ${inner}${frame?.type === "presence" ? `+${frame.joined.map(({ peerId }) => peerId.slice(0, 4))} -${frame.left.map(({ peerId }) => peerId.slice(0, 4))}` : ""}${act ? ` [${act}]` : ""}`);
    if (this.trace.length > 400) this.trace.shift();
  }
}

function entry({ peerId, metadata }) {
  return metadata ? { peerId, metadata } : { peerId };
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}

/** Claims of a token that is signed with the double's secret, else null; expiry is not judged. */
function readToken(text) {
  const [head, body, sign] = text?.split(".") ?? [];
  if (!sign) return null;
  const wanted = createHmac("sha256", TOKEN_SECRET).update(`${head}.${body}`).digest();
  const given = Buffer.from(sign, "base64url");
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return null;
  return parse(Buffer.from(body, "base64url").toString());
}
