// A double of the door for the tests of the page: a page of the public SDK that joins the hub of a real daemon and
// sends what the door protocol lets a door send, when the test says so. It is no door: it decides nothing by itself.
// For states that a real door gets into too seldom, and for what a page must say in them.

import { createHash, createHmac, randomBytes } from "node:crypto";
import { Phone } from "./phone.mjs";
import { until } from "./wait.mjs";

const VERSION = 1;

export class DoorDouble {
  #phone;
  #seq = 0;

  /** Joins the channel of this door. @param {import("./door.mjs").Door} door */
  static async join(door) {
    const double = new DoorDouble();
    double.#phone = await Phone.open();
    const { page } = double.#phone;
    await page.goto(`http://127.0.0.1:${door.port}/`);
    double.call = "c-double-1";
    double.id = await page.evaluate(join, { key: door.key, channel: door.channel, url: door.ws });
    return double;
  }

  async close() {
    await this.#phone.close();
  }

  /** Leaves the channel, as a door does after a call. */
  leave() {
    return this.#phone.page.evaluate(() => window.peer.close());
  }

  /** Begins another call. */
  begin(call) {
    this.call = call;
    this.#seq = 0;
  }

  /** Where the call stands, to one page. @returns {Promise<object>} what was sent */
  async notice(to, stage, more = {}) {
    this.#seq += 1;
    const message = {
      intercomd: VERSION, type: "call", call: this.call, seq: this.#seq, stage,
      age_ms: 12_000, ringing_at: 1, answered_by: null, answered_name: null, may: stage === "ended" ? [] : ["open", "take", "join", "text"],
      ...more,
    };
    await this.send(to, message);
    return message;
  }

  /** Any message of the protocol about the present call. */
  tell(to, type, more = {}) {
    return this.send(to, { intercomd: VERSION, type, call: this.call, ...more });
  }

  send(to, message) {
    return this.#phone.page.evaluate(([to, message]) => window.peer.sendTo(to, message), [to, message]);
  }

  /** Sends picture and sound to every page from now on. */
  film() {
    return this.#phone.page.evaluate(() => window.peer.addStream(window.scene.captureStream(15)));
  }

  /** The visitor as a JPEG in base64. */
  picture() {
    return this.#phone.page.evaluate(() => window.scene.toDataURL("image/jpeg", 0.8).split(",")[1]);
  }

  /** All messages of this type that pages have sent, in their order: `{from, data}`. */
  heard(type) {
    return this.#phone.page.evaluate((type) => window.heard.filter(({ data }) => data?.type === type), type);
  }

  /** Waits for the nth message of this type (from 1). */
  untilHeard(type, nth = 1, ms = 10_000) {
    return until(async () => (await this.heard(type))[nth - 1], `message ${nth} "${type}" of the page`, ms, () => this.#phone.page.evaluate(() => window.heard));
  }

  /** Everything that pages have sent. */
  everything() {
    return this.#phone.page.evaluate(() => window.heard);
  }

  /** A challenge, sent. @returns {Promise<string>} its nonce */
  async challenge(to, purpose) {
    const nonce = randomBytes(32).toString("hex");
    await this.tell(to, "challenge", { purpose, nonce });
    return nonce;
  }
}

/** Whether a proof is right, as a door would find that keeps no secret. */
export function isProved(secret, { purpose, call, nonce, person, proof }, peerId) {
  const storedKey = createHash("sha256").update(createHmac("sha256", secret).update("intercomd person 1").digest()).digest();
  const signature = createHmac("sha256", storedKey).update(["intercomd 1", purpose, call, nonce, peerId, person].join("\n"), "utf8").digest();
  const clientKey = Buffer.from(proof, "hex").map((byte, n) => byte ^ signature[n]);
  return createHash("sha256").update(clientKey).digest().equals(storedKey);
}

/** In the browser: joins, notes what comes, and draws somebody at a door. */
async function join({ key, channel, url }) {
  const { MeteredPeer } = await import("/vendor/metered-realtime.mjs");
  window.heard = [];
  window.peer = new MeteredPeer({ apiKey: key, url });
  window.peer.on("data", ({ senderPeerId, data, kind }) => {
    if (kind === "direct") window.heard.push({ from: senderPeerId, data });
  });
  await window.peer.join(channel);
  const scene = document.createElement("canvas");
  [scene.width, scene.height] = [640, 480];
  window.scene = scene;
  const brush = scene.getContext("2d");
  const shape = (colour, draw) => {
    brush.fillStyle = colour;
    brush.beginPath();
    draw();
    brush.fill();
  };
  let tick = 0;
  const paint = () => {
    tick += 1;
    const light = brush.createLinearGradient(0, 0, 0, 480);
    light.addColorStop(0, "#a9c4d8");
    light.addColorStop(0.55, "#dfe3d6");
    light.addColorStop(1, "#8a9a72");
    brush.fillStyle = light;
    brush.fillRect(0, 0, 640, 480);
    shape("#c9b79c", () => brush.rect(0, 300, 640, 180));
    shape("#6d7f5a", () => brush.ellipse(90, 290, 110, 70, 0, 0, 7));
    shape("#5c7050", () => brush.ellipse(560, 280, 120, 90, 0, 0, 7));
    const sway = Math.sin(tick / 12) * 6;
    shape("#2f4f6f", () => brush.roundRect(215 + sway, 270, 210, 260, 70));
    shape("#e2b48f", () => brush.ellipse(320 + sway, 190, 66, 80, 0, 0, 7));
    shape("#4a3526", () => brush.ellipse(320 + sway, 138, 72, 44, 0, Math.PI, 2 * Math.PI));
    shape("#23262b", () => brush.ellipse(296 + sway, 188, 6, 7, 0, 0, 7));
    shape("#23262b", () => brush.ellipse(344 + sway, 188, 6, 7, 0, 0, 7));
    shape("#b06a55", () => brush.ellipse(320 + sway, 228, 20, 7, 0, 0, Math.PI));
    shape("#b98a4e", () => brush.rect(380 + sway, 350, 120, 90));
    shape("#a5773d", () => brush.rect(434 + sway, 350, 12, 90));
  };
  paint();
  setInterval(paint, 66);
  return window.peer.peerId;
}
