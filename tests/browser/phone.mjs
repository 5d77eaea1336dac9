// A phone for the tests: one fresh Chromium with a camera and a microphone made of files, and readers for
// what a page shows and plays.

import { chromium } from "playwright-core";
import { createServer } from "node:http";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { WEB_DIR } from "./door.mjs";
import { readBars, writePhonePicture, writePhoneSound } from "./signs.mjs";
import { until } from "./wait.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  "--autoplay-policy=no-user-gesture-required",
  "--disable-features=WebRtcHideLocalIpsWithMdns",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  "--disable-quic",
];
/** A phone held upright, in CSS pixels. */
const SCREEN = { width: 390, height: 844 };

export class Phone {
  /** @param {{program?: string, trusting?: boolean}} wishes `program`: what starts the browser; `trusting`: it takes any certificate */
  static async open({ program = process.env.CHROMIUM ?? "/usr/bin/chromium", trusting = false } = {}) {
    const phone = new Phone();
    phone.folder = mkdtempSync(join(tmpdir(), "intercomd-phone-"));
    const picture = join(phone.folder, "picture.y4m");
    const sound = join(phone.folder, "sound.wav");
    writePhonePicture(picture);
    writePhoneSound(sound);
    phone.context = await chromium.launchPersistentContext(join(phone.folder, "profile"), {
      executablePath: program,
      // Playwright's own switch would add a second, older headless mode.
      headless: false,
      args: [...FLAGS, `--use-file-for-fake-video-capture=${picture}`, `--use-file-for-fake-audio-capture=${sound}`],
      viewport: SCREEN,
      ignoreHTTPSErrors: trusting,
    });
    phone.page = phone.context.pages()[0] ?? (await phone.context.newPage());
    phone.errors = [];
    phone.page.on("pageerror", (error) => phone.errors.push(error.message));
    phone.page.on("console", (line) => {
      if (line.type() === "error") phone.errors.push(line.text());
    });
    return phone;
  }

  async close() {
    await this.context.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /**
   * Puts a switch into this phone's line to the channel, before a page is opened.
   *
   * @returns {Promise<() => Promise<void>>} cuts the line once; the page may connect again at once
   */
  async lineCutter() {
    let line = null;
    await this.page.routeWebSocket(/\/v1\?/, (socket) => {
      const server = socket.connectToServer();
      line = { socket, server };
    });
    return async () => {
      const { socket, server } = line;
      await Promise.all([socket.close({ code: 1012 }), server.close()]);
    };
  }

  /** Keeps every peer connection of the pages opened from now on in `window.connections`. */
  keepConnections() {
    return this.page.addInitScript(() => {
      window.connections = [];
      const Native = window.RTCPeerConnection;
      window.RTCPeerConnection = class extends Native {
        constructor(...settings) {
          super(...settings);
          window.connections.push(this);
        }
      };
    });
  }

  /** Opens the answer page of a door. */
  async openAnswerPage(door) {
    await this.page.goto(door.link);
    await this.untilState("setup", 10_000);
  }

  /** Opens the answer page and taps Watch. */
  async watch(door) {
    await this.openAnswerPage(door);
    await this.page.click("#arm");
    await this.untilState("armed", 10_000);
  }

  /** Opens the answer page with this link, and taps Watch. `name`: what the person wants to be called. */
  async watchAs(link, name) {
    await this.page.goto(link);
    await this.untilState("setup", 10_000);
    if (name) {
      await this.page.click("#settings");
      await this.page.fill("#my-name", name);
      await this.page.press("#my-name", "Tab");
      await this.page.keyboard.press("Escape");
    }
    await this.page.click("#arm");
    await this.untilState("armed", 10_000);
  }

  /** What the page tells about itself under this name. */
  intercom(key) {
    return this.page.evaluate((key) => window.intercom[key], key);
  }

  /** Waits until this element's text is like this. */
  untilSays(selector, pattern, ms = 15_000) {
    return until(async () => pattern.test(await this.page.innerText(selector)), `${selector} like ${pattern}`, ms, () => this.page.innerText(selector));
  }

  state() {
    return this.page.evaluate(() => document.body.dataset.state);
  }

  /** Waits until the answer page shows one of these states. */
  untilState(wanted, ms = 15_000) {
    const any = [wanted].flat();
    return until(
      async () => any.includes(await this.state()),
      `the page in state ${any.join(" or ")}`,
      ms,
      async () => ({ state: await this.state(), says: await this.page.innerText("#status"), errors: this.errors }),
    );
  }

  /** Waits until this video element shows the door's test picture, moving. `bars`: its colours, if not the usual ones. */
  async untilVisitorSeen(selector, ms = 20_000, bars) {
    let seen = null;
    const first = await until(
      async () => {
        seen = await pixels(this.page, selector);
        return readBars(seen, bars);
      },
      `the door's colour bars in ${selector}`,
      ms,
      () => ({ pixels: JSON.stringify(seen?.filter((_, x) => x % 8 === 0)), errors: this.errors }),
    );
    await until(
      async () => {
        const now = readBars(await pixels(this.page, selector), bars);
        return now !== null && now !== first;
      },
      `movement of the door's colour bars in ${selector}`,
      ms,
    );
  }

  /** One line of what this video element shows; see `pixels`. */
  line(selector) {
    return pixels(this.page, selector);
  }

  /** Waits until the sound that reaches this video element has its peak at the tone. */
  untilHeard(selector, hertz, ms = 20_000) {
    let seen = null;
    return until(
      async () => {
        seen = await peak(this.page, selector);
        return seen.level > -70 && Math.abs(seen.hertz - hertz) < 12;
      },
      `a tone of ${hertz} Hz in ${selector}`,
      ms,
      () => seen,
    );
  }
}

/** One line of the picture, a quarter down, as [red, green, blue] from left to right. */
function pixels(page, selector) {
  return page.evaluate((selector) => {
    const video = document.querySelector(selector);
    const [width, height] = [64, 48];
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const brush = canvas.getContext("2d", { willReadFrequently: true });
    if (video?.videoWidth) brush.drawImage(video, 0, 0, width, height);
    const line = brush.getImageData(0, height / 4, width, 1).data;
    return Array.from({ length: width }, (_, x) => [line[x * 4], line[x * 4 + 1], line[x * 4 + 2]]);
  }, selector);
}

/** Strongest frequency (Hz) and its level (dB) of the stream behind a video element. */
function peak(page, selector) {
  return page.evaluate(async (selector) => {
    const stream = document.querySelector(selector)?.srcObject;
    if (!stream?.getAudioTracks().length) return { hertz: 0, level: -Infinity };
    window.ear ??= new AudioContext();
    await window.ear.resume();
    if (window.earStream !== stream) {
      window.earStream = stream;
      window.earNode = window.ear.createAnalyser();
      window.earNode.fftSize = 8192;
      window.earNode.smoothingTimeConstant = 0;
      window.ear.createMediaStreamSource(stream).connect(window.earNode);
    }
    const bins = new Float32Array(window.earNode.frequencyBinCount);
    window.earNode.getFloatFrequencyData(bins);
    let top = 1;
    for (let n = 2; n < bins.length; n += 1) if (bins[n] > bins[top]) top = n;
    return { hertz: (top * window.ear.sampleRate) / 8192, level: bins[top] };
  }, selector);
}

/**
 * Serves the tutorial-style page and the SDK beside it on 127.0.0.1.
 *
 * @param {{path?: string}} wishes `path`: a socket file to serve on instead
 * @returns {Promise<{address: (door: import("./door.mjs").Door) => string, close: () => void}>}
 */
export async function serveTutorial({ path } = {}) {
  const files = {
    "/": [join(HERE, "tutorial.html"), "text/html"],
    "/tutorial.mjs": [join(HERE, "tutorial.mjs"), "text/javascript"],
    "/sdk.mjs": [join(WEB_DIR, "vendor/metered-realtime.mjs"), "text/javascript"],
  };
  const server = createServer((request, response) => {
    const [file, type] = files[new URL(request.url, "http://x").pathname] ?? [];
    if (!file) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": type }).end(readFileSync(file));
  });
  await new Promise((resolve) => server.listen(path ? { path } : { port: 0, host: "127.0.0.1" }, resolve));
  const { port } = server.address();
  return {
    address: (door) => `http://127.0.0.1:${port}/?${new URLSearchParams({ channel: door.channel, key: door.key, url: door.ws })}`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
