// Where this page's wish to look through the camera stands. Pure: a state and an event in, the next state out.

/**
 * @typedef {{step: "idle"}
 *   | {step: "asking"}
 *   | {step: "proved", door: string}
 *   | {step: "looking", door: string, until: number}
 *   | {step: "over"}
 *   | {step: "refused", why: string}} Look
 *
 * `until` is on the clock of the events, in ms. `why` is the door's word, or one of ours: `no-answer`, `unsent`, `line`.
 */

/** @returns {Look} */
export const IDLE = Object.freeze({ step: "idle" });

/** Whether the line to the door is needed. @param {Look} look */
export const isOn = ({ step }) => step === "asking" || step === "proved" || step === "looking";

/** @param {Look} look @returns {Look} the same object when nothing changed */
export function nextLook(look, event) {
  const ours = look.door !== undefined && look.door === event.from;
  switch (event.type) {
    case "ask":
      return isOn(look) ? look : { step: "asking" };
    case "challenge":
      return look.step === "asking" ? { step: "proved", door: event.from } : look;
    case "looking":
      return ours ? { step: "looking", door: look.door, until: event.at + event.forMs } : look;
    case "refused":
      // Before a number is out the door says no to a member it was never told from others by.
      return look.step === "asking" || (ours && isOn(look)) || (isOn(look) && event.from === undefined) ? { step: "refused", why: event.why } : look;
    case "late":
      return look.step === "asking" || look.step === "proved" ? { step: "refused", why: "no-answer" } : look;
    case "look-over":
    case "peer-left":
      return ours && look.step === "looking" ? { step: "over" } : look;
    case "time-up":
      return look.step === "looking" ? { step: "over" } : look;
    case "line":
      // Under another id this page is somebody else to the door, which has to be asked anew.
      return event.line === "up" && (look.step === "looking" || look.step === "proved") ? { step: "over" } : look;
    case "stop":
      return look.step === "idle" ? look : IDLE;
    default:
      return look;
  }
}
