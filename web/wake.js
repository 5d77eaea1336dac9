// Has this phone woken when it rings, by the push service of its browser's maker: asks the browser, and gives the door the
// address. waking.js says what that comes to; sw.js is what is woken.

import { prove } from "./prove.js";
import * as store from "./store.js";
import { waking } from "./waking.js";

const KEPT = "intercom-wake";

export class Wake {
  #link;
  #line;
  #changed;
  #registration = null;
  #subscription = null;
  #tried = null;
  /** In which call the door was asked, under which id. */
  #asked = null;
  #say;

  /**
   * @param {object} link see config.js
   * @param {import("./line.js").Line} line
   * @param {() => import("./language.js").Say} say the present language
   * @param {() => void} changed
   */
  constructor(link, line, say, changed) {
    this.#link = link;
    this.#line = line;
    this.#say = say;
    this.#changed = changed;
    if (this.#wanted) this.#look().catch(() => {});
  }

  get #wanted() {
    return this.#link.push !== null && this.#link.rights !== null;
  }

  /** @returns {import("./waking.js").Waking} */
  get state() {
    return waking({
      key: this.#link.push,
      person: this.#link.rights !== null,
      supported: this.#registration !== null,
      apple: "standalone" in navigator,
      installed: matchMedia("(display-mode: standalone)").matches || navigator.standalone === true,
      permission: globalThis.Notification?.permission ?? "default",
      subscription: this.#subscription,
      told: store.savedWake(this.#link.channel),
      tried: this.#tried,
    });
  }

  // Fails where the browser has no such thing, and for a page whose certificate it was only talked into.
  async #look() {
    if (!navigator.serviceWorker || !("PushManager" in globalThis)) return;
    this.#registration = await navigator.serviceWorker.register("sw.js");
    this.#subscription = describe(await this.#registration.pushManager.getSubscription());
    this.#changed();
    // The link or the language may have changed since.
    if (this.#subscription !== null) await this.leaveWords();
  }

  /** At a tap: browsers ask for the right only then. */
  async enable() {
    if (this.#registration === null || this.#tried === "busy") return;
    this.#tried = "busy";
    this.#changed();
    try {
      if ((await Notification.requestPermission()) === "granted") {
        const { pushManager } = this.#registration;
        // One of another key is of no use to this door.
        await (await pushManager.getSubscription())?.unsubscribe();
        this.#subscription = describe(await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: this.#link.push }));
        await this.leaveWords();
      }
      this.#tried = null;
    } catch {
      this.#tried = "failed";
    }
    this.#changed();
  }

  /** What the sleeping part has to know of this door. */
  async leaveWords() {
    if (!this.#wanted || this.#subscription === null) return;
    const { channel, name } = this.#link;
    const say = this.#say();
    const words = { ring: say("ringingHead"), answered: say("pushAnswered"), answeredBy: say("pushAnsweredBy", { name: "{name}" }), missed: say("pastMissed") };
    const fragment = (location.hash.length > 1 ? location.hash : store.savedLink()).replace(/^#/, "").replace(/&wake=1$/, "");
    const cache = await caches.open(KEPT);
    await cache.put(`./wake/${encodeURIComponent(channel)}`, new Response(JSON.stringify({ channel, name, fragment, words })));
  }

  /** In each call: a door may have forgotten what it once said it keeps. */
  tell(door, call) {
    const id = `${door} ${call} ${this.#line.peerId}`;
    if (!["untold", "on"].includes(this.state) || this.#asked === id) return;
    this.#asked = id;
    const { endpoint, p256dh: key, auth } = this.#subscription;
    this.#line.tell(door, "wake", { call, endpoint, key, auth }).catch(() => {});
  }

  /** An answer of the door's about it. */
  async hear(event, door) {
    if (event.from !== door || this.#asked !== `${door} ${event.call} ${this.#line.peerId}`) return;
    if (event.type === "will-wake") {
      store.saveWake(this.#link.channel, this.#subscription.endpoint);
      this.#changed();
    }
    if (event.type === "refused") {
      store.saveWake(this.#link.channel, null);
      this.#changed();
    }
    if (event.type !== "challenge") return;
    const { person, secret } = this.#link.rights;
    const { call, purpose, nonce } = event;
    const peerId = this.#line.peerId;
    try {
      const proof = await prove(secret, { purpose, call, nonce, peerId, person });
      await this.#line.tell(door, "proof", { call, purpose, nonce, person, proof });
    } catch {
      // The next call asks again.
    }
  }
}

function describe(subscription) {
  if (subscription === null) return null;
  const { endpoint, keys } = subscription.toJSON();
  const key = subscription.options?.applicationServerKey;
  return { endpoint, ...keys, key: key ? base64url(new Uint8Array(key)) : "" };
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
