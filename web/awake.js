// Keeps the phone awake while the page watches, where the browser allows it, and notices when it slept.

const TICK_MS = 10_000;
/** Background pages are woken about once a minute; a longer gap means that the phone was asleep. */
const SLEPT_MS = 100_000;

export class Awake {
  #wanted = false;
  #lock = null;
  #changed;

  /**
   * @param {() => void} changed the lock was got or lost
   * @param {(ms: number) => void} slept the page was frozen for so long; its line may be dead without knowing
   */
  constructor(changed, slept) {
    this.#changed = changed;
    document.addEventListener("visibilitychange", () => this.#take());
    let last = Date.now();
    setInterval(() => {
      const now = Date.now();
      if (now - last > SLEPT_MS && this.#wanted) slept(now - last);
      last = now;
    }, TICK_MS);
  }

  get held() {
    return this.#lock !== null;
  }

  want(on) {
    if (this.#wanted === on) return;
    this.#wanted = on;
    if (on) this.#take();
    else this.#lock?.release().catch(() => {});
  }

  async #take() {
    if (!this.#wanted || this.#lock || document.visibilityState !== "visible" || !navigator.wakeLock) return;
    const lock = await navigator.wakeLock.request("screen").catch(() => null);
    if (!lock) return;
    this.#lock = lock;
    lock.addEventListener("release", () => {
      this.#lock = null;
      this.#changed();
    });
    if (!this.#wanted) lock.release().catch(() => {});
    this.#changed();
  }
}
