// A door in a browser, after the SDK's tutorial: a press joins the channel with camera and microphone, and shows who
// comes. `drawn` in the address: the camera is a canvas with the bench's clock in it, as the browser's own stand-in
// for a camera can have none.

import { MeteredPeer } from "./sdk.mjs";
import { ROW_SHARE, SQUARES, squares } from "./timecode.mjs";

const query = new URLSearchParams(location.search);
let me = null;
let media = null;
let drawing = null;

async function camera() {
  const wishes = { video: { width: 640, height: 480, frameRate: 30 }, audio: true };
  if (!query.has("drawn")) return navigator.mediaDevices.getUserMedia(wishes);
  const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
  const brush = canvas.getContext("2d", { alpha: false });
  const stream = canvas.captureStream(0);
  let count = 0;
  const draw = () => {
    count += 1;
    brush.fillStyle = `hsl(${count % 360} 50% 40%)`;
    brush.fillRect(0, 0, 640, 480);
    brush.fillStyle = "#ccc";
    brush.fillRect((count * 7) % 640, 160, 80, 120);
    for (const [n, white] of squares(Date.now()).entries()) {
      brush.fillStyle = white ? "#fff" : "#000";
      brush.fillRect((n * 640) / SQUARES, 0, 640 / SQUARES, 480 * ROW_SHARE);
    }
    stream.getVideoTracks()[0].requestFrame();
  };
  draw();
  drawing = setInterval(draw, 1000 / 30);
  const { audio } = wishes;
  const sound = await navigator.mediaDevices.getUserMedia({ audio });
  return new MediaStream([...stream.getVideoTracks(), ...sound.getAudioTracks()]);
}

window.press = async () => {
  const taking = camera();
  me = new MeteredPeer({ apiKey: query.get("key"), url: query.get("url") });
  me.on("peer-joined", ({ peer }) => {
    peer.on("stream-added", ({ stream }) => {
      const video = Object.assign(document.createElement("video"), { autoplay: true, srcObject: stream });
      document.body.replaceChildren(video);
    });
  });
  const joining = me.join(query.get("channel"));
  media = await taking;
  me.addStream(media, { role: "camera" });
  await joining;
};
window.hangup = async () => {
  clearInterval(drawing);
  for (const track of media?.getTracks() ?? []) track.stop();
  await me?.close();
  document.body.replaceChildren();
};
