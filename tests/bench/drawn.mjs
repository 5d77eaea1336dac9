// A page's camera with the bench's clock in it, as the browser's own stand-in for a camera can have none.

import { ROW_SHARE, SQUARES, squares } from "./timecode.mjs";

const [WIDTH, HEIGHT] = [640, 480];

/** Draws 30 pictures a second from now on. Returns the track and what ends it. */
export function drawnCamera() {
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const brush = canvas.getContext("2d", { alpha: false });
  const [track] = canvas.captureStream(0).getVideoTracks();
  let count = 0;
  const draw = () => {
    count += 1;
    brush.fillStyle = `hsl(${count % 360} 50% 40%)`;
    brush.fillRect(0, 0, WIDTH, HEIGHT);
    brush.fillStyle = "#ccc";
    brush.fillRect((count * 7) % WIDTH, HEIGHT / 3, 80, 120);
    for (const [n, white] of squares(Date.now()).entries()) {
      brush.fillStyle = white ? "#fff" : "#000";
      brush.fillRect((n * WIDTH) / SQUARES, 0, WIDTH / SQUARES, HEIGHT * ROW_SHARE);
    }
    track.requestFrame();
  };
  draw();
  const drawing = setInterval(draw, 1000 / 30);
  return { track, end: () => clearInterval(drawing) };
}

const eye = new OffscreenCanvas(SQUARES, 1).getContext("2d", { willReadFrequently: true });

/** The brightness of the clock's squares in what a video element shows. */
export function clockOf(video) {
  eye.drawImage(video, 0, 0, video.videoWidth, video.videoHeight * ROW_SHARE, 0, 0, SQUARES, 1);
  const pixels = eye.getImageData(0, 0, SQUARES, 1).data;
  return Array.from({ length: SQUARES }, (_, n) => (pixels[4 * n] + pixels[4 * n + 1] + pixels[4 * n + 2]) / 3);
}
