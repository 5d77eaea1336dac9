// Which language the page speaks, and its sentences with their gaps filled. Pure; the sentences are in lang/.

/** The languages there are: one file each in lang/, and one entry here. The first is for everybody else. */
export const LANGUAGES = ["en", "de"];

/**
 * @param {readonly string[]} wanted the browser's, best first, such as `de-AT`
 * @param {string|null} remembered what the person chose on this page
 */
export function choose(wanted, remembered = null, have = LANGUAGES) {
  for (const tag of [remembered, ...wanted]) {
    const code = String(tag ?? "").toLowerCase().split("-")[0];
    if (have.includes(code)) return code;
  }
  return have[0];
}

/** @typedef {(key: string, gaps?: Object<string, string|number>) => string} Say */

/** @param {Object<string, string>} sentences by key; `{gap}` is filled in @returns {Say} */
export function speaker(sentences) {
  return (key, gaps = {}) => {
    if (!Object.hasOwn(sentences, key)) throw new Error(`no sentence "${key}" in this language`);
    return sentences[key].replace(/\{(\w+)\}/g, (_, gap) => String(gaps[gap] ?? ""));
  };
}
