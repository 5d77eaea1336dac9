// This phone's camera and microphone, and the one way they go: to the door.
// It never opens a device by itself; `open` is called for an answered call and `close` ends everything.

const PICTURE = { facingMode: "user", width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 25, max: 30 } };
const SOUND = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

export class OwnMedia {
  #changed;
  #stream = null;
  #visit = 0;
  #connection = null;
  #senders = [];
  #video = "none";
  #audio = "none";
  #dark = null;
  #words = "";

  /** @param {() => void} changed called after every change worth showing */
  constructor(changed) {
    this.#changed = changed;
  }

  /** `none` (no device), `on` or `off`. */
  get video() {
    return this.#video;
  }

  /** `none` (no device), `on` or `off`. */
  get audio() {
    return this.#audio;
  }

  /** What hinders the devices, as a sentence; empty when nothing does. */
  get words() {
    return this.#words;
  }

  /** The own picture, or null. */
  get preview() {
    return this.#video === "on" ? this.#stream : null;
  }

  /** Opens camera and microphone; with less if that is all there is. Safe to overtake by `close`. */
  async open() {
    const visit = ++this.#visit;
    this.#tell("Waiting for your camera and microphone…");
    const { stream, words } = await openDevices();
    if (visit !== this.#visit) {
      stopAll(stream);
      return;
    }
    this.#stream = stream;
    this.#video = stream?.getVideoTracks().length ? "on" : "none";
    this.#audio = stream?.getAudioTracks().length ? "on" : "none";
    this.#attach();
    this.#tell(words);
  }

  /**
   * Sends to this peer connection from now on; null sends nowhere.
   *
   * The tracks go to the door's connection alone. `MeteredPeer.addStream` would send them to every
   * member of the channel, so each armed phone of the house would receive this person's camera.
   */
  sendTo(connection) {
    if (connection === this.#connection) return;
    this.#detach();
    this.#connection = connection;
    this.#attach();
  }

  toggleMute() {
    if (this.#audio === "none") return;
    this.#audio = this.#audio === "on" ? "off" : "on";
    for (const track of this.#stream.getAudioTracks()) track.enabled = this.#audio === "on";
    this.#changed();
  }

  /** Turns the camera off for real, its light included, or on again; the connection is not renegotiated. */
  async toggleCamera() {
    if (this.#video === "on") {
      this.#video = "off";
      this.#dark ??= new DarkPicture();
      await this.#swapVideo(this.#dark.track);
      this.#changed();
      return;
    }
    if (this.#video !== "off") return;
    const visit = this.#visit;
    const fresh = await navigator.mediaDevices.getUserMedia({ video: PICTURE }).catch(() => null);
    if (visit !== this.#visit || this.#video !== "off") {
      stopAll(fresh);
      return;
    }
    if (!fresh) {
      this.#tell("The camera could not be turned on again.");
      return;
    }
    this.#video = "on";
    await this.#swapVideo(fresh.getVideoTracks()[0]);
    this.#dark = null;
    this.#changed();
  }

  /** Stops sending and lets go of the devices, so that the phone's camera light goes off. */
  close() {
    this.#visit += 1;
    this.#detach();
    this.#connection = null;
    stopAll(this.#stream);
    this.#stream = null;
    this.#dark = null;
    this.#video = "none";
    this.#audio = "none";
    this.#tell("");
  }

  #attach() {
    if (!this.#connection || !this.#stream) return;
    this.#senders = this.#stream
      .getTracks()
      .map((track) => ({ kind: track.kind, sender: this.#connection.addTrack(track, this.#stream) }));
  }

  #detach() {
    for (const { sender } of this.#senders) {
      try {
        this.#connection.removeTrack(sender);
      } catch {
        // The connection is closed already, which is all we wanted.
      }
    }
    this.#senders = [];
  }

  async #swapVideo(track) {
    for (const before of this.#stream.getVideoTracks()) {
      this.#stream.removeTrack(before);
      before.stop();
    }
    this.#stream.addTrack(track);
    const slot = this.#senders.find(({ kind }) => kind === "video");
    await slot?.sender.replaceTrack(track).catch(() => {});
  }

  #tell(words) {
    this.#words = words;
    this.#changed();
  }
}

async function openDevices() {
  const devices = navigator.mediaDevices;
  if (!devices?.getUserMedia) {
    return { stream: null, words: "This browser gives no camera or microphone here (https is needed). You can watch and listen only." };
  }
  try {
    const stream = await devices.getUserMedia({ video: PICTURE, audio: SOUND });
    return { stream, words: "" };
  } catch {
    // Without a camera, or with the camera in use elsewhere, the voice alone is still an answer.
  }
  try {
    const stream = await devices.getUserMedia({ audio: SOUND });
    return { stream, words: "" };
  } catch (error) {
    const refused = error?.name === "NotAllowedError";
    return {
      stream: null,
      words: refused
        ? "Camera and microphone are not allowed for this page. You can watch and listen only; allow them in the browser's settings for this page."
        : "No camera and no microphone found. You can watch and listen only.",
    };
  }
}

function stopAll(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/** A black picture to send while the camera is off; without it the visitor would see the last frame for ever. */
class DarkPicture {
  constructor() {
    const canvas = document.createElement("canvas");
    canvas.width = 320;
    canvas.height = 240;
    const brush = canvas.getContext("2d");
    const paint = () => brush.fillRect(0, 0, canvas.width, canvas.height);
    paint();
    this.track = canvas.captureStream(5).getVideoTracks()[0];
    // A canvas stream sends a frame only after something was painted.
    const timer = setInterval(() => (this.track.readyState === "live" ? paint() : clearInterval(timer)), 250);
  }
}
