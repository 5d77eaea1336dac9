// A double of the door for the tests of the page: a page of the public SDK that joins the hub of a real daemon and
// sends what the door protocol lets a door send, when the test says so. It is no door: it decides nothing by itself.
// For states that a real door gets into too seldom, and for what a page must say in them.

import { randomBytes } from "node:crypto";
import { Member } from "./member.mjs";

export class DoorDouble extends Member {
  #seq = 0;

  static async join(door) {
    const double = await super.join(door);
    double.begin("c-double-1");
    await double.page.evaluate(draw);
    return double;
  }

  /** Begins another call. */
  begin(call) {
    this.call = call;
    this.#seq = 0;
  }

  /** Where the call stands, to one page. */
  notice(to, stage, more = {}) {
    this.#seq += 1;
    return this.tell(to, "call", {
      seq: this.#seq, stage, age_ms: 12_000, ringing_at: 1, answered_by: null, answered_name: null,
      may: stage === "ended" ? [] : ["open", "take", "join", "text"],
      ...more,
    });
  }

  /** Sends picture and sound to every page from now on. */
  film() {
    return this.page.evaluate(() => window.peer.addStream(window.scene.captureStream(15)));
  }

  /** The visitor as a JPEG in base64. */
  picture() {
    return this.page.evaluate(() => window.scene.toDataURL("image/jpeg", 0.8).split(",")[1]);
  }

  /** A challenge, sent. @returns {Promise<string>} its nonce */
  async challenge(to, purpose) {
    const nonce = randomBytes(32).toString("hex");
    await this.tell(to, "challenge", { purpose, nonce });
    return nonce;
  }
}

/** In the browser: draws somebody at a door. */
function draw() {
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
}
