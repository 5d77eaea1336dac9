// The two sheets that come up from below: a message to the visitor, and the settings.

import { find, show } from "./dom.js";
import { LANGUAGES } from "./language.js";
import { lineOfText } from "./words.js";
import { visitor } from "./view-stage.js";

/** @param {(text: string) => void} send @param {() => import("./language.js").Say} say the present language */
export function wireTexts(send, say) {
  wireClosing(find("text-sheet"));
  wireClosing(find("look-sheet"));
  const open = () => openSheet("text-sheet");
  find("message").addEventListener("click", open);
  find("other-message").addEventListener("click", open);
  const go = (words) => {
    const text = lineOfText(words);
    if (text === null) return;
    find("text-sheet").close();
    find("text").value = "";
    send(text);
  };
  for (const button of document.querySelectorAll("[data-quick]")) button.addEventListener("click", () => go(say()(button.dataset.quick)));
  // The policy of the page lets no form go anywhere; this one is only for the Enter key of the keyboard.
  find("text-form").addEventListener("submit", (event) => {
    event.preventDefault();
    go(find("text").value);
  });
}

/** Closes the message sheet when there is nobody to write to. */
export function closeTexts() {
  if (find("text-sheet").open) find("text-sheet").close();
}

/**
 * @param {{language: (code: string) => void, name?: (name: string) => void, volume?: (volume: number) => void,
 *          speakerFailed?: () => void, speakerDefault?: () => string}} acts
 * @param {{code: string, name: string, volume: number}} now
 */
export function wireSettings(acts, now) {
  wireClosing(find("settings-sheet"));
  find("settings").addEventListener("click", () => {
    openSheet("settings-sheet");
    if (acts.speakerFailed) listSpeakers(acts.speakerDefault());
  });
  const language = find("language");
  for (const code of LANGUAGES) language.append(new Option(new Intl.DisplayNames([code], { type: "language" }).of(code), code));
  for (const option of language.options) option.lang = option.value;
  language.value = now.code;
  language.addEventListener("change", () => acts.language(language.value));
  const inCalls = acts.name !== undefined;
  show("my-name-row", inCalls);
  show("volume-row", inCalls && canTurn());
  if (!inCalls) return;
  const name = find("my-name");
  name.value = now.name;
  name.addEventListener("change", () => acts.name(name.value));
  const volume = find("volume");
  volume.value = String(now.volume);
  visitor().volume = now.volume;
  volume.addEventListener("input", () => {
    visitor().volume = Number(volume.value);
    acts.volume(Number(volume.value));
  });
  find("speaker").addEventListener("change", async ({ target }) => {
    await visitor().setSinkId(target.value).catch(() => acts.speakerFailed());
  });
}

function openSheet(id) {
  if (!find(id).open) find(id).showModal();
}

function wireClosing(sheet) {
  sheet.querySelector("[data-close]").addEventListener("click", () => sheet.close());
  // A tap beside the sheet lands on the dialog itself, a tap in it on something inside.
  sheet.addEventListener("click", (event) => {
    if (event.target !== sheet) return;
    const { top, left, right, bottom } = sheet.getBoundingClientRect();
    if (event.clientY < top || event.clientY > bottom || event.clientX < left || event.clientX > right) sheet.close();
  });
}

// Some phones leave the volume to their keys and ignore pages.
function canTurn() {
  const probe = document.createElement("video");
  probe.volume = 0.5;
  return probe.volume === 0.5;
}

async function listSpeakers(unnamed) {
  const select = find("speaker");
  if (!("setSinkId" in HTMLMediaElement.prototype) || !navigator.mediaDevices) return;
  const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  const speakers = devices.filter(({ kind, label }) => kind === "audiooutput" && label !== "");
  show("speaker-row", speakers.length > 1);
  select.replaceChildren(new Option(unnamed, ""), ...speakers.filter(({ deviceId }) => deviceId !== "default").map(({ deviceId, label }) => new Option(label, deviceId)));
  select.value = visitor().sinkId ?? "";
}
