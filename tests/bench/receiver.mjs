// A light phone: signalling, ICE, DTLS, SRTP and reports as a browser's, by libdatachannel, for many in one process.
// It decodes and sends no picture, so that what it costs leaves the machine to the door.

import { randomInt, randomUUID } from "node:crypto";
import { once } from "node:events";
import { PeerConnection } from "node-datachannel";
import WebSocket from "ws";
import { within } from "../browser/wait.mjs";
import { Arrivals, Source, isControl, numberId, readMedia, readSenderReport } from "./feedback.mjs";

const JOIN_MS = 10_000;
/** As Chromium does at these rates. */
const [FEEDBACK_MS, REPORT_MS] = [50, 1_000];

export class Receiver {
  #line;
  #room;
  #link = null;
  #timers = [];
  #waiting = [];
  #own = randomInt(1, 2 ** 31);
  /** All that came so far: `frames` are pictures that came to their end. */
  counts = { frames: 0, video: 0, audio: 0, bytes: 0 };

  /**
   * Enters the channel and answers whoever offers.
   *
   * @param {{url: string, key: string, channel: string, address?: string}} room `address`: of this machine, the only one offered
   */
  static async join(room) {
    const phone = new Receiver();
    phone.#room = room;
    phone.#line = new WebSocket(`${room.url}/v1?key=${room.key}`);
    await within(once(phone.#line, "open"), "the phone's line", JOIN_MS);
    const inside = new Promise((resolve, reject) => {
      phone.#line.on("message", (text) => {
        const frame = JSON.parse(text);
        if (frame.type === "direct") phone.#listen(frame);
        else if (frame.type === "error") reject(new Error(`the service says: ${text}`));
        else if (frame.type === "presence") resolve();
      });
    });
    phone.#ask({ type: "subscribe", channel: room.channel });
    await within(inside, "the phone's way into the channel", JOIN_MS);
    phone.#timers = [setInterval(() => phone.#feedback(), FEEDBACK_MS), setInterval(() => phone.#report(), REPORT_MS)];
    return phone;
  }

  #ask(request) {
    this.#line.send(JSON.stringify({ ...request, requestId: randomUUID() }));
  }

  /** What cannot be understood leaves the phone without pictures, which is noticed. */
  #listen({ from, data }) {
    try {
      this.#hear(from, data);
    } catch (error) {
      console.log(`a phone: ${error.message}`);
    }
  }

  #hear(from, data) {
    if (data?.type === "rtc-description" && data.description.type === "offer") {
      const { sdp } = data.description;
      const print = /^a=fingerprint:.*$/m.exec(sdp)?.[0];
      // Another certificate is another connection.
      if (this.#link?.from !== from || (this.#link.print && this.#link.print !== print)) this.#meet(from);
      Object.assign(this.#link, { number: numberId(sdp), print, answered: true });
      this.#link.pc.setRemoteDescription(sdp, "offer");
      this.#link.pc.setLocalDescription("answer");
      for (const words of this.#link.early.splice(0)) this.#link.pc.addRemoteCandidate(...words);
    } else if (data?.type === "rtc-ice" && data.candidate?.candidate) {
      if (this.#link?.from !== from) this.#meet(from);
      const words = [data.candidate.candidate, data.candidate.sdpMid ?? "0"];
      if (this.#link.answered) this.#link.pc.addRemoteCandidate(...words);
      else this.#link.early.push(words);
    }
  }

  #meet(from) {
    this.#link?.pc.close();
    const pc = new PeerConnection("phone", {
      iceServers: [],
      disableAutoNegotiation: true,
      ...(this.#room.address && { bindAddress: this.#room.address }),
    });
    const link = { from, pc, early: [], tracks: [], sources: new Map(), arrivals: new Arrivals(), number: null };
    this.#link = link;
    const tell = (data) => this.#ask({ type: "send", to: from, data });
    pc.onLocalDescription((sdp, type) => {
      // The library answers as if it sent the offer's tracks back; this phone only looks.
      const own = sdp.replace(/^a=(ssrc-group|msid):.*\r\n/gm, "").replaceAll("a=sendrecv", "a=recvonly");
      tell({ type: "rtc-description", description: { type, sdp: own } });
    });
    pc.onLocalCandidate((line, sdpMid) => tell({ type: "rtc-ice", candidate: { candidate: line.replace(/^a=/, ""), sdpMid } }));
    pc.onTrack((track) => {
      const kind = track.type();
      link.tracks.push({ track, kind });
      track.onMessage((packet) => this.#take(link, track, kind, packet));
    });
  }

  #take(link, track, kind, packet) {
    if (isControl(packet)) {
      const report = readSenderReport(packet);
      if (report) link.sources.get(report.ssrc)?.source.stamp(report.stamp, performance.now());
      return;
    }
    const { marker, sequence, ssrc, number } = readMedia(packet, link.number);
    if (!link.sources.has(ssrc)) link.sources.set(ssrc, { source: new Source(ssrc), track });
    link.sources.get(ssrc).source.take(sequence);
    if (number !== null) link.arrivals.take(number, performance.now() * 1000);
    this.counts[kind] += 1;
    this.counts.bytes += packet.length;
    if (kind !== "video" || !marker) return;
    this.counts.frames += 1;
    while (this.#waiting[0]?.frames <= this.counts.frames) this.#waiting.shift().done();
  }

  #feedback() {
    const [any] = this.#link?.sources.values() ?? [];
    const packet = any && this.#link.arrivals.report(this.#own, any.source.ssrc);
    if (packet && any.track.isOpen()) any.track.sendMessageBinary(packet);
  }

  #report() {
    for (const { source, track } of this.#link?.sources.values() ?? []) {
      if (track.isOpen()) track.sendMessageBinary(source.report(this.#own, performance.now()));
    }
  }

  /** Packets that did not come so far. */
  get lost() {
    return [...(this.#link?.sources.values() ?? [])].reduce((sum, { source }) => sum + source.lost, 0);
  }

  /** Waits for so many further pictures. */
  frames(count, ms) {
    const seen = new Promise((done) => {
      this.#waiting.push({ frames: this.counts.frames + count, done });
      this.#waiting.sort((one, other) => one.frames - other.frames);
    });
    return within(seen, `${count} pictures at a phone`, ms);
  }

  /** Leaves the channel, as a page that is closed. */
  async leave() {
    for (const timer of this.#timers) clearInterval(timer);
    this.#link?.pc.close();
    this.#link = null;
    const closed = once(this.#line, "close");
    this.#line.close();
    await within(closed, "the end of the phone's line", JOIN_MS);
  }
}
