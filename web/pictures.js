// Pictures made of pictures: the small one for the list of past calls, and the photo that a person saves.

const SMALL = { width: 128, height: 96 };

/** A small JPEG as a data URL; null when the picture cannot be decoded. @param {string} url */
export async function small(url) {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    return null;
  }
  const { canvas, brush } = board(SMALL.width, SMALL.height);
  const scale = Math.max(SMALL.width / image.naturalWidth, SMALL.height / image.naturalHeight);
  const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
  brush.drawImage(image, (SMALL.width - width) / 2, (SMALL.height - height) / 2, width, height);
  return canvas.toDataURL("image/jpeg", 0.7);
}

/** Saves what the video shows now, as a file. @param {HTMLVideoElement} video @param {string} name @returns {Promise<boolean>} */
export async function savePhoto(video, name) {
  if (!video.videoWidth) return false;
  const { canvas, brush } = board(video.videoWidth, video.videoHeight);
  brush.drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  if (!blob) return false;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has taken the blob over by the end of this turn.
  setTimeout(() => URL.revokeObjectURL(link.href), 0);
  return true;
}

/** A file name from a door's name and the time, such as `front-door-20260131-184502.jpg`. */
export function photoName(door, date) {
  const two = (number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}`;
  const plain = door.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "door";
  return `${plain}-${day}-${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}.jpg`;
}

function board(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return { canvas, brush: canvas.getContext("2d") };
}
