// Any page written after the SDK's public tutorial: the same calls in the same order, and nothing of the
// door protocol. It proves that the door needs no page of ours.

import { MeteredPeer } from "./sdk.mjs";

const query = new URLSearchParams(location.search);
const note = document.querySelector("#note");

document.querySelector("#start").addEventListener("click", async () => {
  const media = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
  document.querySelector("#mine").srcObject = media;

  const me = new MeteredPeer({ apiKey: query.get("key"), url: query.get("url") });
  me.on("peer-joined", ({ peer: other }) => {
    other.on("stream-added", ({ stream }) => {
      document.querySelector("#theirs").srcObject = stream;
    });
    other.on("state-change", ({ to }) => {
      note.value = to;
    });
  });
  me.addStream(media, { role: "camera" });
  await me.join(query.get("channel"));
  note.value = "joined";
});
