// A double of a browser maker's push service, which cannot be had here: takes what the door sends, checks what a real one
// checks (VAPID, RFC 8292) and opens what only the browser could (RFC 8291, by the crate of the standard's author). Its
// browsers are keys made here; `subscribeHere` puts them into a page in place of the browser's own.

import { createECDH, createPublicKey, randomBytes, verify } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ece from "http_ece";
import { certify } from "./authority.mjs";
import { until } from "./wait.mjs";

export class PushService {
  /** What came: `{browser, headers, news}`, the oldest first. `faults`: what was wrong with it. */
  came = [];
  faults = [];
  /** The status of the next answers, and of the next ones of single browsers. */
  status = 201;
  busy = [];

  static async start() {
    const service = new PushService();
    service.folder = mkdtempSync(join(tmpdir(), "intercomd-push-"));
    service.ca = certify(service.folder, ["DNS:localhost"]);
    const [cert, key] = ["server.crt", "server.key"].map((name) => readFileSync(join(service.folder, name)));
    service.server = createServer({ cert, key }, (request, response) => service.#take(request, response));
    await new Promise((resolve) => service.server.listen(0, "127.0.0.1", resolve));
    service.origin = `https://localhost:${service.server.address().port}`;
    service.browsers = new Map();
    return service;
  }

  /** A browser: what `PushSubscription.toJSON` would say of it. */
  browser() {
    const ecdh = createECDH("prime256v1");
    const [p256dh, auth] = [ecdh.generateKeys(), randomBytes(16)];
    const path = `/push/${randomBytes(8).toString("hex")}`;
    this.browsers.set(path, { ecdh, auth });
    return { endpoint: `${this.origin}${path}`, keys: { p256dh: p256dh.toString("base64url"), auth: auth.toString("base64url") } };
  }

  /** Waits for the next news of this sort. */
  async until(event, ms = 15_000) {
    const found = await until(() => this.came.find(({ news }) => news.event === event), `a push of ${event}`, ms, () => JSON.stringify({ came: this.came.map(({ news }) => news), faults: this.faults }));
    this.came.splice(this.came.indexOf(found), 1);
    return found;
  }

  async #take(request, response) {
    const parts = [];
    for await (const part of request) parts.push(part);
    const browser = this.browsers.get(request.url);
    try {
      const key = vapid(request.headers.authorization, this.origin);
      const plain = ece.decrypt(Buffer.concat(parts), { version: "aes128gcm", privateKey: browser.ecdh, authSecret: browser.auth });
      this.came.push({ path: request.url, key, headers: request.headers, news: JSON.parse(plain.toString()) });
    } catch (error) {
      this.faults.push(error.message);
    }
    const busy = this.busy.indexOf(request.url);
    if (busy >= 0) this.busy.splice(busy, 1);
    response.writeHead(busy >= 0 ? 503 : this.status).end();
  }

  close() {
    this.server.close();
    this.server.closeAllConnections();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The key of whoever signed the header; throws when anything is wrong with it. */
function vapid(header, origin) {
  const { t, k } = /^vapid t=(?<t>[\w.-]+), k=(?<k>[\w-]+)$/.exec(header ?? "")?.groups ?? {};
  const [head, claims, signature] = (t ?? "").split(".");
  const point = Buffer.from(k, "base64url");
  const jwk = { kty: "EC", crv: "P-256", x: point.subarray(1, 33).toString("base64url"), y: point.subarray(33).toString("base64url") };
  const key = createPublicKey({ key: jwk, format: "jwk" });
  const good = verify("sha256", Buffer.from(`${head}.${claims}`), { key, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url"));
  const { aud, exp, sub } = JSON.parse(Buffer.from(claims, "base64url"));
  const left = exp - Date.now() / 1000;
  if (!good || aud !== origin || !/^mailto:/.test(sub) || left <= 0 || left > 24 * 3600) throw new Error(`bad VAPID: ${good} ${aud} ${sub} ${left}`);
  return k;
}

/** Puts a browser of the double's into the pages that are opened from now on. @param {import("playwright-core").Page} page */
export async function subscribeHere(page, browser) {
  await page.addInitScript((browser) => {
    // Browsers remember.
    const kept = "the double's subscription";
    const give = (key) => ({
      endpoint: browser.endpoint,
      options: { applicationServerKey: Uint8Array.from(atob(key.replaceAll("-", "+").replaceAll("_", "/") + "="), (letter) => letter.charCodeAt(0)).buffer },
      toJSON: () => browser,
      unsubscribe: async () => (localStorage.removeItem(kept), true),
    });
    PushManager.prototype.subscribe = async ({ applicationServerKey }) => {
      localStorage.setItem(kept, applicationServerKey);
      return give(applicationServerKey);
    };
    PushManager.prototype.getSubscription = async () => (localStorage.getItem(kept) === null ? null : give(localStorage.getItem(kept)));
  }, browser);
}
