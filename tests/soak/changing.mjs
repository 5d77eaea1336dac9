// Waiting for what events bring: looked at again whenever something happened, never in between, always with a deadline.

export class Changing {
  #waiting = new Set();

  /** Something happened: everybody who waits looks again. */
  changed() {
    for (const look of [...this.#waiting]) look();
  }

  /**
   * Waits until `look` gives something true, and returns that.
   *
   * @param {() => any} look an exception ends the waiting
   * @param {string} what for the error: "… did not happen within …"
   * @param {number} ms deadline
   * @param {() => any} [hint] told with the error: what was seen instead
   */
  until(look, what, ms, hint = () => "") {
    return new Promise((resolve, reject) => {
      let timer = null;
      const end = (settle, value) => {
        clearTimeout(timer);
        this.#waiting.delete(again);
        settle(value);
      };
      const again = () => {
        try {
          const seen = look();
          if (seen) end(resolve, seen);
        } catch (error) {
          end(reject, error);
        }
      };
      timer = setTimeout(() => end(reject, new Error(`${what} did not happen within ${ms} ms; seen: ${JSON.stringify(hint())}`)), ms);
      this.#waiting.add(again);
      again();
    });
  }
}
