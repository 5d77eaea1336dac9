// A door in a browser, after the SDK's tutorial: a press joins the channel with camera and microphone, and shows who
// comes. `drawn` in the address: the camera has the bench's clock in it. `seen`: the age of what is shown is read.

import { MeteredPeer } from "./sdk.mjs";
import { clockOf, drawnCamera } from "./drawn.mjs";
import { age } from "./timecode.mjs";

const query = new URLSearchParams(location.search);
let me = null;
let media = null;
let drawn = null;
window.ages = [];

async function camera() {
  const wishes = { video: { width: 640, height: 480, frameRate: 30 }, audio: true };
  if (!query.has("drawn")) return navigator.mediaDevices.getUserMedia(wishes);
  drawn = drawnCamera();
  const { audio } = wishes;
  const sound = await navigator.mediaDevices.getUserMedia({ audio });
  return new MediaStream([drawn.track, ...sound.getAudioTracks()]);
}

function readAges(video) {
  const shown = () => {
    const old = age(clockOf(video), Date.now());
    if (old !== null) window.ages.push(old);
    if (video.isConnected) video.requestVideoFrameCallback(shown);
  };
  video.requestVideoFrameCallback(shown);
}

window.press = async () => {
  const taking = camera();
  me = new MeteredPeer({ apiKey: query.get("key"), url: query.get("url") });
  me.on("peer-joined", ({ peer }) => {
    peer.on("stream-added", ({ stream }) => {
      const video = Object.assign(document.createElement("video"), { autoplay: true, srcObject: stream });
      document.body.replaceChildren(video);
      if (query.has("seen")) readAges(video);
    });
  });
  const joining = me.join(query.get("channel"));
  media = await taking;
  me.addStream(media, { role: "camera" });
  await joining;
};
window.hangup = async () => {
  drawn?.end();
  for (const track of media?.getTracks() ?? []) track.stop();
  await me?.close();
  document.body.replaceChildren();
};
