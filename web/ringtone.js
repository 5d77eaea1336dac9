// The bell of this page: sound made on the spot, vibration, and a flashing title.
// It knows nothing of calls; it is told `on` or `off`, and off is always silent at once.

const STRIKES = [
  { at: 0, hertz: 784 },
  { at: 0.55, hertz: 622 },
];
const PERIOD_MS = 2600;
const BUZZ = [400, 200, 400];

export class Ringtone {
  #context = null;
  #timer = null;
  #voices = new Set();
  #title = document.title;
  #alarm = document.title;
  #flash = false;
  #changed;

  /** @param {() => void} changed the sound became allowed or blocked */
  constructor(changed) {
    this.#changed = changed;
  }

  /** Must be called inside a tap: browsers give sound only to pages that were touched. */
  async unlock() {
    const Context = globalThis.AudioContext ?? globalThis.webkitAudioContext;
    if (!Context) return;
    if (!this.#context) {
      this.#context = new Context();
      this.#context.addEventListener("statechange", () => this.#changed());
    }
    await this.#context.resume().catch(() => {});
  }

  /** Whether the bell would be heard now. */
  get audible() {
    return this.#context?.state === "running";
  }

  get ringing() {
    return this.#timer !== null;
  }

  /** What the tab is called while the bell is off, and while it rings. */
  setTitles(quiet, ringing) {
    this.#title = quiet;
    this.#alarm = ringing;
    if (!this.ringing) document.title = quiet;
  }

  on() {
    if (this.ringing) return;
    this.#strike();
    this.#timer = setInterval(() => this.#strike(), PERIOD_MS);
  }

  off() {
    if (!this.ringing) return;
    clearInterval(this.#timer);
    this.#timer = null;
    for (const voice of this.#voices) voice.stop();
    this.#voices.clear();
    navigator.vibrate?.(0);
    document.title = this.#title;
  }

  #strike() {
    this.#flash = matchMedia("(prefers-reduced-motion: reduce)").matches || !this.#flash;
    document.title = this.#flash ? this.#alarm : this.#title;
    navigator.vibrate?.(BUZZ);
    const context = this.#context;
    if (!context) return;
    // A phone call or the lock screen may have suspended the sound since the tap.
    if (context.state !== "running") context.resume().catch(() => {});
    for (const { at, hertz } of STRIKES) this.#tone(context, context.currentTime + 0.02 + at, hertz);
  }

  #tone(context, from, hertz) {
    const gain = context.createGain();
    gain.gain.setValueAtTime(0.0001, from);
    gain.gain.exponentialRampToValueAtTime(0.5, from + 0.015);
    gain.gain.exponentialRampToValueAtTime(0.0001, from + 1.4);
    gain.connect(context.destination);
    for (const [partial, share] of [[1, 1], [2, 0.35], [3.01, 0.12]]) {
      const voice = context.createOscillator();
      const level = context.createGain();
      level.gain.value = share;
      voice.frequency.value = hertz * partial;
      voice.connect(level).connect(gain);
      voice.onended = () => {
        this.#voices.delete(voice);
        level.disconnect();
      };
      this.#voices.add(voice);
      voice.start(from);
      voice.stop(from + 1.5);
    }
  }
}
