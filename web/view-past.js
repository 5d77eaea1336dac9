// Paints the list of past calls.

import { find, show, text } from "./dom.js";
import { isMissed } from "./past.js";
import { pastWords } from "./words.js";

let painted = null;

/**
 * @param {{say: import("./language.js").Say, code: string, list: import("./past.js").Past[], present: string|null,
 *          visible: boolean, note: string}} what `note`: why the door's log is not in it
 */
export function paintPast({ say, code, list, present, visible, note }) {
  show("past", visible);
  show("past-clear", list.length > 0);
  show("past-none", list.length === 0);
  text("past-note", note);
  show("past-note", note !== "");
  // The painter comes by each second; the list is written only when it would read otherwise.
  if (painted?.list === list && painted.present === present && painted.code === code) return;
  painted = { list, present, code };
  find("past-list").replaceChildren(...list.map((past) => row(say, code, past, present)));
}

function row(say, code, past, present) {
  const item = document.createElement("li");
  item.dataset.call = past.call;
  const missed = isMissed(past, present);
  if (missed) item.className = "missed";
  item.append(pictureOf(past));
  const words = document.createElement("div");
  const what = document.createElement("p");
  what.className = "what";
  what.textContent = pastWords(say, past, present);
  const when = document.createElement("time");
  when.className = "when";
  const at = new Date(past.at);
  when.dateTime = at.toISOString();
  when.textContent = new Intl.DateTimeFormat(code, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }).format(at);
  words.append(what, when);
  item.append(words);
  return item;
}

function pictureOf({ picture }) {
  if (picture) {
    const image = document.createElement("img");
    image.src = picture;
    // The words beside it say what it is; the picture adds nothing that could be read aloud.
    image.alt = "";
    return image;
  }
  const blank = document.createElement("span");
  blank.className = "blank";
  blank.setAttribute("aria-hidden", "true");
  blank.textContent = "–";
  return blank;
}
