// Paints the picture of the visitor and what lies on it.

import { find, label, show, text, toggle } from "./dom.js";
import { ageWords } from "./words.js";

/** The visitor's element. */
export const visitor = () => find("visitor");

/** @param {import("./call.js").State} state @param {import("./view.js").More} more */
export function paintStage(state, more, inCall, talking) {
  const { say, media, listening, picture, still, live, blocked, large } = more;
  show("stage", inCall);
  const video = visitor();
  const wanted = inCall ? picture : null;
  if (video.srcObject !== wanted) video.srcObject = wanted;
  // Without a tap browsers start only muted pictures, and this one is muted until then.
  video.muted = blocked || !(talking || listening);
  const sends = (wanted?.getVideoTracks().length ?? 0) > 0;
  document.body.dataset.live = live ? "yes" : "no";

  const image = find("picture");
  const early = inCall && !live ? still : null;
  if (early !== null && image.src !== early) image.src = early;
  show("picture", early !== null);
  const waits = !wanted || (sends && !live) ? say(early === null ? "pictureWaiting" : "pictureEarlier") : sends ? "" : say("pictureNone");
  text("no-picture", waits);
  show("no-picture", inCall && waits !== "");

  const own = find("own");
  const preview = talking ? media.preview : null;
  if (own.srcObject !== preview) own.srcObject = preview;
  own.dataset.facing = media.facing;
  show("own", preview !== null);

  const age = inCall && !talking ? ageWords(say, state.call, more.at) : "";
  text("age", age);
  show("age", age !== "");
  toggle("listen", inCall && !talking, listening, [say("listen"), say("listenStop")]);
  show("unblock", inCall && blocked);
  show("snapshot", inCall && live);
  label("enlarge", say(large ? "shrink" : "enlarge"));
}
