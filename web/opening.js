// Where this page's wish to open the door stands. Pure: a state and an event in, the next state out.

/**
 * @typedef {{step: "idle"}
 *   | {step: "asked", call: string}
 *   | {step: "proved", call: string}
 *   | {step: "opened", call: string, by: string|null, forMs: number}
 *   | {step: "refused", call: string, why: string}} Opening
 *
 * `why` is the door's word, or one of ours: `no-answer`, `unsent`.
 */

/** @returns {Opening} */
export const IDLE = Object.freeze({ step: "idle" });

/** Whether the page waits for the door. */
export const isWaiting = ({ step }) => step === "asked" || step === "proved";

/** @param {Opening} opening @returns {Opening} the same object when nothing changed */
export function nextOpening(opening, event) {
  switch (event.type) {
    case "ask":
      return isWaiting(opening) ? opening : { step: "asked", call: event.call };
    case "challenge":
      return opening.step === "asked" && opening.call === event.call ? { step: "proved", call: event.call } : opening;
    case "opened":
      return { step: "opened", call: event.call, by: event.by, forMs: event.forMs };
    case "refused":
      return isWaiting(opening) && opening.call === event.call ? { step: "refused", call: event.call, why: event.why } : opening;
    case "late":
      return isWaiting(opening) ? { step: "refused", call: opening.call, why: "no-answer" } : opening;
    case "told":
    case "call-over":
      return opening.step === "idle" ? opening : IDLE;
    default:
      return opening;
  }
}
