// Named timers that run exactly while their condition holds.

export class Timers {
  #running = new Map();

  /** @param {unknown} about a timer whose subject changed starts anew */
  keep(name, on, delay, act, about = null) {
    const running = this.#running.get(name);
    if (running && on && running.about === about) return;
    if (running) {
      clearTimeout(running.id);
      this.#running.delete(name);
    }
    if (!on) return;
    const id = setTimeout(() => {
      this.#running.delete(name);
      act();
    }, delay);
    this.#running.set(name, { id, about });
  }
}
