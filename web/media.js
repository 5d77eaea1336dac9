// This phone's camera and microphone, and the one way they go: to the door.
// It never opens a device by itself; `open` is called for an answered call and `close` ends everything.

const PICTURE = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 25, max: 30 } };
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
  #facing = "user";
  #cameras = 0;
  #trouble = "";

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

  /** What hinders the devices: `waiting`, `insecure`, `denied`, `missing`, `camera-lost`; empty when nothing does. */
  get trouble() {
    return this.#trouble;
  }

  /** Whether there is another camera to turn to. */
  get canFlip() {
    return this.#video === "on" && this.#cameras > 1;
  }

  /** `user` (towards the person) or `environment`. */
  get facing() {
    return this.#facing;
  }

  /** The own picture, or null. */
  get preview() {
    return this.#video === "on" ? this.#stream : null;
  }

  /** Opens camera and microphone; with less if that is all there is. Safe to overtake by `close`. */
  async open() {
    const visit = ++this.#visit;
    this.#tell("waiting");
    const { stream, trouble } = await openDevices(this.#facing);
    if (visit !== this.#visit) {
      stopAll(stream);
      return;
    }
    this.#stream = stream;
    this.#video = stream?.getVideoTracks().length ? "on" : "none";
    this.#audio = stream?.getAudioTracks().length ? "on" : "none";
    this.#attach();
    this.#tell(trouble);
    // Before the permission browsers tell nothing about what there is.
    const devices = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
    if (visit !== this.#visit) return;
    this.#cameras = devices.filter(({ kind }) => kind === "videoinput").length;
    this.#changed();
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
    if (this.#video === "off") await this.#light();
  }

  /** Turns to the camera on the other side of the phone. */
  async flip() {
    if (!this.canFlip) return;
    this.#facing = this.#facing === "user" ? "environment" : "user";
    // Most phones open one camera at a time, so the present one is let go first.
    this.#video = "off";
    for (const track of this.#stream.getVideoTracks()) track.stop();
    await this.#light();
  }

  async #light() {
    const visit = this.#visit;
    const fresh = await navigator.mediaDevices.getUserMedia({ video: picture(this.#facing) }).catch(() => null);
    if (visit !== this.#visit || this.#video !== "off") {
      stopAll(fresh);
      return;
    }
    if (!fresh) {
      this.#dark ??= new DarkPicture();
      await this.#swapVideo(this.#dark.track);
      this.#tell("camera-lost");
      return;
    }
    this.#video = "on";
    await this.#swapVideo(fresh.getVideoTracks()[0]);
    this.#dark = null;
    this.#tell("");
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

  #tell(trouble) {
    this.#trouble = trouble;
    this.#changed();
  }
}

async function openDevices(facing) {
  const devices = navigator.mediaDevices;
  if (!devices?.getUserMedia) return { stream: null, trouble: "insecure" };
  try {
    return { stream: await devices.getUserMedia({ video: picture(facing), audio: SOUND }), trouble: "" };
  } catch {
    // Without a camera, or with the camera in use elsewhere, the voice alone is still an answer.
  }
  try {
    return { stream: await devices.getUserMedia({ audio: SOUND }), trouble: "" };
  } catch (error) {
    return { stream: null, trouble: error?.name === "NotAllowedError" ? "denied" : "missing" };
  }
}

function picture(facing) {
  return { ...PICTURE, facingMode: facing };
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
