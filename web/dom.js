// The few ways in which the painters write the document.

export const find = (id) => document.getElementById(id);

export function show(id, visible) {
  const element = find(id);
  if (element.hidden === visible) element.hidden = !visible;
}

/** Live regions are read aloud on every write, so an unchanged text is left alone. */
export function text(id, words) {
  const element = find(id);
  if (element.textContent !== words) element.textContent = words;
}

export function label(id, words) {
  const element = find(id);
  if (element.getAttribute("aria-label") !== words) element.setAttribute("aria-label", words);
}

/** A button with two labels. The label says what a tap does, so the state is shown by colour and not told a second time. */
export function toggle(id, visible, pressed, [off, on]) {
  show(id, visible);
  find(id).classList.toggle("active", pressed);
  text(`${id}-text`, pressed ? on : off);
}

/** Fills in everything of index.html that does not depend on the state. @param {import("./language.js").Say} say @param {string} code */
export function translate(say, code) {
  document.documentElement.lang = code;
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", say(element.dataset.label));
  for (const element of document.querySelectorAll("[data-alt]")) element.alt = say(element.dataset.alt);
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = say(element.dataset.hint);
}
