// A button that a pocket cannot press: a finger has to rest on it, and a key or a screen reader, which cannot rest,
// has to come twice. It knows nothing of doors, and its timers are given to it.

/** How long a finger rests, in milliseconds. */
export const HOLD_MS = 900;
/** How long the second of two clicks is waited for. */
export const SURE_MS = 4_000;

/** @typedef {"rest"|"held"|"sure?"|"hint"} Hold `hint`: it was tapped like any button, which is not enough */

export class HoldButton {
  #state = "rest";
  #timer = null;
  #act;
  #changed;
  #clock;

  /**
   * @param {() => void} act what the button is for
   * @param {(state: Hold) => void} changed
   * @param {{setTimeout: Function, clearTimeout: Function}} [clock]
   */
  constructor(act, changed, clock = globalThis) {
    this.#act = act;
    this.#changed = changed;
    this.#clock = clock;
  }

  /** @returns {Hold} */
  get state() {
    return this.#state;
  }

  /** A finger or a mouse button went down on it. */
  press() {
    this.#go("held", HOLD_MS, () => this.#fire());
  }

  /** It was let go, or slid off. */
  release() {
    if (this.#state === "held") this.#go("hint", SURE_MS, () => this.#go("rest"));
  }

  /** It was activated by something that cannot hold. */
  activate() {
    if (this.#state === "sure?") this.#fire();
    else this.#go("sure?", SURE_MS, () => this.#go("rest"));
  }

  /** Forgets a half-made wish. */
  reset() {
    if (this.#state !== "rest") this.#go("rest");
  }

  #fire() {
    this.#go("rest");
    this.#act();
  }

  #go(state, ms = 0, then = null) {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = then === null ? null : this.#clock.setTimeout(then, ms);
    this.#state = state;
    this.#changed(state);
  }
}

/** Fingers and mice hold the button; keys and screen readers, whose clicks have no count, come twice. */
export function wireHold(hold, button) {
  button.style.setProperty("--hold-ms", `${HOLD_MS}ms`);
  button.addEventListener("pointerdown", (event) => {
    if (event.button === 0) hold.press();
  });
  for (const type of ["pointerup", "pointerleave", "pointercancel"]) button.addEventListener(type, () => hold.release());
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  button.addEventListener("click", (event) => {
    if (event.detail === 0) hold.activate();
  });
}
