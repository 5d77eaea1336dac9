// A peer connection of a light phone with the door: real ICE, DTLS and SRTP by libdatachannel, nothing decoded.
// It begins by taking only, as a page without media does, and offers anew when it is to send.

import { randomInt } from "node:crypto";
import datachannel from "node-datachannel";
import { Packets } from "./packets.mjs";

const { Audio, PeerConnection, Video } = datachannel;

/**
 * The library closes a track whose JavaScript object is collected, and may then still call back into it: each is kept
 * until long after its end.
 */
const kept = [];
const KEPT = 400;

function keep(thing) {
  kept.push(thing);
  if (kept.length > KEPT) kept.shift();
}

const first = (text, pattern) => pattern.exec(text)?.[1];
const isRtcp = (packet) => packet.length > 1 && packet[1] >= 192 && packet[1] <= 223;

/** The sections of a description for sound and picture, with the payload types that Opus and H.264 have in it. */
function sections(sdp) {
  return sdp.split(/^m=/m).slice(1).flatMap((text) => {
    const kind = first(text, /^(audio|video) /);
    const codec = kind === "audio" ? /^a=rtpmap:(\d+) opus\//im : /^a=rtpmap:(\d+) H264\//im;
    const payloadType = first(text, codec);
    return payloadType ? [{ kind, mid: first(text, /^a=mid:(\S+)/m), payloadType: Number(payloadType) }] : [];
  });
}

export class Link {
  #pc;
  #tell;
  #changed;
  /** What the door's newest offer has for sound and picture. */
  #sections = [];
  #tracks = [];
  #timers = [];
  #early = [];
  #described = false;
  #fingerprint = null;
  #sends = false;
  #offers = false;
  closed = false;
  state = "new";
  /** Packets that came, by kind. */
  received = { audio: 0, video: 0 };
  /** Packets that went, by kind. */
  sent = { audio: 0, video: 0 };

  /**
   * @param {{sends: boolean, tell: (data: object) => void, changed: () => void}} wishes `sends`: from its first answer on;
   *   `tell`: sends a signal to the door; `changed`: called when anything here may have changed
   */
  constructor({ sends, tell, changed }) {
    this.#sends = sends;
    this.#tell = tell;
    this.#changed = changed;
    const pc = new PeerConnection("phone", { iceServers: [], disableAutoNegotiation: true });
    this.#pc = pc;
    keep(pc);
    const open = (act) => (...news) => {
      if (!this.closed) act(...news);
    };
    pc.onLocalDescription(open((sdp, type) => this.#tell({ type: "rtc-description", description: { type, sdp } })));
    pc.onLocalCandidate(open((candidate, sdpMid) => this.#tell({ type: "rtc-ice", candidate: { candidate, sdpMid, sdpMLineIndex: 0 } })));
    pc.onStateChange(open((state) => {
      this.state = state;
      this.#stream();
      this.#changed();
    }));
    pc.onSignalingStateChange(open(() => this.#stream()));
  }

  /** Whether an offer of this certificate belongs here. Each of the door's links has one of its own. */
  belongs(sdp) {
    return !this.#fingerprint || this.#fingerprint === first(sdp, /^a=fingerprint:\S+ (\S+)/m);
  }

  /** Whether an offer of its own waits for its answer. */
  get offering() {
    return this.#pc.signalingState() === "have-local-offer";
  }

  describe({ type, sdp }) {
    if (type === "answer" && !this.offering) return;
    this.#fingerprint ??= first(sdp, /^a=fingerprint:\S+ (\S+)/m);
    if (type === "offer") {
      this.#sections = sections(sdp);
      this.#prepare();
    }
    this.#pc.setRemoteDescription(sdp, type);
    this.#described = true;
    for (const words of this.#early.splice(0)) this.#add(words);
    if (type === "offer") this.#pc.setLocalDescription("answer");
    // Asked to send while the other side's offer was on its way.
    if (this.#offers && !this.offering) this.#offer();
    this.#stream();
  }

  candidate(candidate) {
    if (!candidate?.candidate) return;
    const words = [candidate.candidate, candidate.sdpMid ?? "0"];
    if (!this.#described) this.#early.push(words);
    else this.#add(words);
  }

  #add(words) {
    try {
      this.#pc.addRemoteCandidate(...words);
    } catch (error) {
      // The door's goodbye on the link itself may overtake what it said before on the line.
      if (!["closed", "failed"].includes(this.#pc.state())) throw error;
    }
  }

  /** Makes the tracks, or makes them go the other way too: a section that is there already gets what is new of it. */
  #prepare() {
    const way = this.#sends ? "SendRecv" : "RecvOnly";
    for (const { kind, mid, payloadType } of this.#sections) {
      const known = this.#tracks.find((track) => track.mid === mid);
      if (known?.way === way) continue;
      const media = kind === "video" ? new Video(mid, way) : new Audio(mid, way);
      if (kind === "video") media.addH264Codec(payloadType);
      else media.addOpusCodec(payloadType);
      const ssrc = randomInt(1, 2 ** 31);
      if (this.#sends) media.addSSRC(ssrc, "phone", "phone", `phone-${kind}`);
      const track = this.#pc.addTrack(media);
      keep(track);
      track.onMessage((packet) => {
        if (this.closed || isRtcp(packet)) return;
        this.received[kind] += 1;
        this.#changed();
      });
      const packets = new Packets(kind, payloadType, ssrc);
      if (known) Object.assign(known, { way, track, packets });
      else this.#tracks.push({ kind, mid, way, track, packets });
    }
  }

  /** Sends sound and picture from now on. */
  send() {
    if (this.#sends || this.closed) return;
    this.#sends = true;
    this.#offers = true;
    if (this.#described && this.#pc.signalingState() === "stable") this.#offer();
  }

  #offer() {
    this.#offers = false;
    this.#prepare();
    this.#pc.setLocalDescription("offer");
  }

  /** Packets flow once both sides have agreed on them. */
  #stream() {
    if (!this.#sends || this.#offers || this.#timers.length > 0 || this.state !== "connected" || this.#pc.signalingState() !== "stable") return;
    this.#timers = this.#tracks.map(({ kind, track, packets }) =>
      setInterval(() => {
        try {
          if (track.isOpen() && track.sendMessageBinary(packets.next())) this.sent[kind] += 1;
        } catch (error) {
          // The library closes it in a thread of its own, also between the question and the sending.
          if (track.isOpen()) throw error;
        }
      }, packets.every),
    );
  }

  /** Sends no more. */
  mute() {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.#sends = false;
    this.#offers = false;
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this.mute();
    this.#pc.close();
  }
}
