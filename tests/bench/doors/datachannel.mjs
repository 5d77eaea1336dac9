// A door on libdatachannel (npm node-datachannel) with GStreamer beside it: one encoder, its packets sent to every
// phone. Its socket stays open between calls. It always makes the offer. Commands on standard input: press, hangup.

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createSocket } from "node:dgram";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Audio, PeerConnection, Video } from "node-datachannel";
import WebSocket from "ws";

const HERE = dirname(fileURLToPath(import.meta.url));
const names = ["url", "key", "channel", "camera", "port", "width", "height", "display"];
const options = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
const args = parseArgs({ options }).values;
const base = Number(args.port);
const { width = "640", height = "480", display = "videoconvert ! fakesink sync=false async=false" } = args;
const media = spawn("/usr/bin/python3", [join(HERE, "media.py"), args.camera, args.port, width, height, display], { stdio: ["pipe", "pipe", "inherit"] });
const order = (word) => media.stdin.write(`${word}\n`);
const say = (event) => process.stdout.write(`${JSON.stringify({ event })}\n`);
const isRtcp = (packet) => packet.length > 1 && packet[1] >= 192 && packet[1] <= 223;

const phones = new Map();
let own = null;
let inside = false;
let lastWish = 0;
const wishKeyframe = () => {
  if (Date.now() - lastWish < 100) return;
  lastWish = Date.now();
  order("keyframe");
};

const fromVideo = createSocket("udp4").bind(base, "127.0.0.1");
const fromAudio = createSocket("udp4").bind(base + 1, "127.0.0.1");
const out = createSocket("udp4");
fromVideo.on("message", (packet) => {
  for (const { open, video } of phones.values()) if (open && video.isOpen()) video.sendMessageBinary(packet);
});
fromAudio.on("message", (packet) => {
  for (const { open, audio } of phones.values()) if (open && audio.isOpen()) audio.sendMessageBinary(packet);
});

function meet(peer) {
  const send = (data) => line.send(JSON.stringify({ type: "send", to: peer, data, requestId: randomUUID() }));
  const pc = new PeerConnection("door", { iceServers: [], disableAutoNegotiation: true });
  const phone = { pc, open: false, early: [], answered: false, asked: 0, askedAt: 0 };
  phones.set(peer, phone);
  pc.onLocalDescription((sdp, type) => send({ type: "rtc-description", description: { type, sdp } }));
  pc.onLocalCandidate((candidate, sdpMid) => send({ type: "rtc-ice", candidate: { candidate, sdpMid, sdpMLineIndex: sdpMid === "v" ? 0 : 1 } }));
  pc.onStateChange((state) => {
    phone.open = state === "connected";
    if (phone.open) wishKeyframe();
  });
  const video = new Video("v", "SendRecv");
  video.addH264Codec(96);
  video.addSSRC(1111, "door", "door", "door-video");
  const audio = new Audio("a", "SendRecv");
  audio.addOpusCodec(97);
  audio.addSSRC(2222, "door", "door", "door-audio");
  phone.video = pc.addTrack(video);
  phone.audio = pc.addTrack(audio);
  // Feedback (206) of format 1 or 4 asks for a keyframe; what comes of the phone's own goes to the decoders.
  phone.video.onMessage((packet) => {
    if (!isRtcp(packet)) {
      // Its first picture may have come before anybody could decode it: RFC 4585, section 6.3.1. A browser makes no two at once.
      if (phone.asked < 4 && Date.now() - phone.askedAt > 500) {
        phone.asked += 1;
        phone.askedAt = Date.now();
        phone.video.sendMessageBinary(Buffer.from([0x81, 206, 0, 2, 0, 0, 0x04, 0x57, ...packet.subarray(8, 12)]));
      }
      return out.send(packet, base + 2, "127.0.0.1");
    }
    for (let at = 0; at + 4 <= packet.length; at += 4 * (packet.readUInt16BE(at + 2) + 1)) {
      if (packet[at + 1] === 206 && [1, 4].includes(packet[at] & 31)) wishKeyframe();
    }
  });
  phone.audio.onMessage((packet) => {
    if (!isRtcp(packet)) out.send(packet, base + 3, "127.0.0.1");
  });
  pc.setLocalDescription("offer");
}

function hear(peer, data) {
  const phone = phones.get(peer);
  if (data?.type === "rtc-description" && data.description.type === "answer") {
    phone.pc.setRemoteDescription(data.description.sdp, "answer");
    phone.answered = true;
    for (const [candidate, mid] of phone.early) phone.pc.addRemoteCandidate(candidate, mid);
  } else if (data?.type === "rtc-ice" && data.candidate?.candidate) {
    const words = [data.candidate.candidate, data.candidate.sdpMid ?? "v"];
    if (phone.answered) phone.pc.addRemoteCandidate(...words);
    else phone.early.push(words);
  }
}

const line = new WebSocket(`${args.url}/v1?key=${args.key}`);
line.on("message", (text) => {
  const frame = JSON.parse(text);
  if (frame.type === "welcome") {
    own = frame.peerId;
    say("ready");
  } else if (frame.type === "presence" && inside) {
    for (const { peerId } of frame.joined ?? []) if (peerId !== own && !phones.has(peerId)) meet(peerId);
  } else if (frame.type === "direct" && phones.has(frame.from)) {
    hear(frame.from, frame.data);
  }
});

const request = (type) => line.send(JSON.stringify({ type, channel: args.channel, requestId: randomUUID() }));
createInterface({ input: process.stdin })
  .on("line", (command) => {
    if (command === "press") {
      inside = true;
      order("start");
      request("subscribe");
    } else if (command === "hangup") {
      inside = false;
      request("unsubscribe");
      for (const { pc } of phones.values()) pc.close();
      phones.clear();
      order("stop");
      say("idle");
    }
  })
  .on("close", () => {
    media.stdin.end();
    process.exit(0);
  });
