// A phone that waits in the channel: shows whoever comes, and keeps when each picture was shown and how old it was.
// `talk` in the address: it sends camera and microphone too, `tutorial` from the start on, as the SDK's tutorial does,
// or `answer`, from its answer to the door's first offer on. `drawn`: its camera has the bench's clock in it.

import { MeteredPeer } from "./sdk.mjs";
import { clockOf, drawnCamera } from "./drawn.mjs";
import { age } from "./timecode.mjs";

const query = new URLSearchParams(location.search);
const talk = query.get("talk");
const bench = (window.bench = { own: null, met: new Map(), doors: new Map(), shown: [], first: null, left: 0 });

function watch(id, stream) {
  const known = bench.doors.get(id);
  if (known) {
    known.video.srcObject = stream;
    return;
  }
  const video = document.createElement("video");
  Object.assign(video, { autoplay: true, muted: true, playsInline: true, srcObject: stream, width: 320 });
  document.body.append(video);
  bench.doors.set(id, { peer: bench.met.get(id), video });
  const shown = () => {
    const at = Date.now();
    if (bench.first === null) bench.first = { at, id, width: video.videoWidth, height: video.videoHeight };
    // Reading the clock costs this page time, and no door any.
    bench.shown.push({ at, age: query.has("clock") ? age(clockOf(video), Date.now()) : null });
    if (bench.shown.length > 4_000) bench.shown.splice(0, 1_000);
    if (video.isConnected) video.requestVideoFrameCallback(shown);
  };
  video.requestVideoFrameCallback(shown);
}

async function camera() {
  const video = { width: 640, height: 480, frameRate: 30 };
  if (!query.has("drawn")) return navigator.mediaDevices.getUserMedia({ video, audio: true });
  const sound = await navigator.mediaDevices.getUserMedia({ audio: true });
  return new MediaStream([drawnCamera().track, ...sound.getAudioTracks()]);
}

const media = talk ? await camera() : null;
const me = new MeteredPeer({ apiKey: query.get("key"), url: query.get("url") });
me.on("peer-joined", ({ peer }) => {
  // Other phones are here too; whoever sends a picture is a door.
  bench.met.set(peer.id, peer);
  if (talk === "answer") {
    // Between the door's offer and our answer: so the answer says at once that we send.
    let sent = false;
    peer.pc.addEventListener("signalingstatechange", () => {
      if (sent || peer.pc.signalingState !== "have-remote-offer") return;
      sent = true;
      for (const track of media.getTracks()) peer.pc.addTrack(track, media);
    });
  }
  const loose = new MediaStream();
  peer.on("stream-added", ({ stream }) => {
    if (stream.getVideoTracks().length > 0) watch(peer.id, stream);
  });
  // Some doors send tracks that belong to no stream.
  peer.pc.addEventListener("track", ({ track, streams }) => {
    if (streams.length > 0 || track.kind !== "video") return;
    loose.addTrack(track);
    watch(peer.id, loose);
  });
});
me.on("peer-left", ({ peer, peerId }) => {
  const id = peer?.id ?? peerId;
  bench.met.delete(id);
  bench.doors.get(id)?.video.remove();
  if (bench.doors.delete(id)) bench.left += 1;
});
if (talk === "tutorial") me.addStream(media, { role: "camera" });
await me.join(query.get("channel"));
bench.own = me.peerId;

/** Forgets what was shown. */
bench.clear = () => Object.assign(bench, { shown: [], first: null, left: 0 });
/** What the browser has decoded of the door's picture so far. */
bench.decoded = async () => {
  for (const { peer } of bench.doors.values()) {
    const stats = await peer.pc.getStats();
    for (const entry of stats.values()) {
      if (entry.type === "inbound-rtp" && entry.kind === "video") {
        const codec = stats.get(entry.codecId)?.mimeType;
        return { frames: entry.framesDecoded, bytes: entry.bytesReceived, codec, width: entry.frameWidth };
      }
    }
  }
  return null;
};
/** What the phone has sent of its own picture so far, in frames. */
bench.sent = async () => {
  for (const { peer } of bench.doors.values()) {
    for (const entry of (await peer.pc.getStats()).values()) {
      if (entry.type === "outbound-rtp" && entry.kind === "video") return entry.framesSent;
    }
  }
  return 0;
};
