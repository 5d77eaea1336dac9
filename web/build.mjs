// Puts the answer page and the pinned SDK into dist/ (or the folder given), ready to be served as plain files.
// It changes no file on the way: what is served is what is in the repository and in the npm package.

import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const dist = resolve(process.argv[2] ?? join(here, "dist"));
const page = [
  "index.html", "style.css", "stage.css", "icon.svg", "manifest.webmanifest",
  "answer.js", "asks.js", "awake.js", "call.js", "config.js", "dom.js", "hold.js", "language.js", "line.js", "look.js", "looking.js", "media.js",
  "memory.js", "opening.js", "past.js", "pictures.js", "prove.js", "quality.js", "read.js", "ringtone.js", "sheets.js",
  "store.js", "timers.js", "view.js", "view-past.js", "sw.js", "view-stage.js", "wake.js", "waking.js", "watcher.js", "words.js",
];
/** Taken whole: a language or an icon is added by adding its file. */
const folders = [["lang", ".js"], ["icons", ".png"]];
const sdk = join(here, "node_modules", "@metered-ca", "realtime");
const wanted = JSON.parse(readFileSync(join(here, "package.json"), "utf8")).dependencies["@metered-ca/realtime"];

if (!existsSync(join(sdk, "package.json"))) {
  console.error("build.mjs: the SDK is not installed; run `npm ci` in web/ first");
  process.exit(1);
}
const found = JSON.parse(readFileSync(join(sdk, "package.json"), "utf8")).version;
if (found !== wanted) {
  console.error(`build.mjs: node_modules holds SDK ${found} but package.json pins ${wanted}; run \`npm ci\` in web/`);
  process.exit(1);
}
mkdirSync(join(dist, "vendor"), { recursive: true });
for (const file of page) copyFileSync(join(here, file), join(dist, file));
for (const [folder, ending] of folders) {
  mkdirSync(join(dist, folder), { recursive: true });
  for (const file of readdirSync(join(here, folder))) {
    if (file.endsWith(ending)) copyFileSync(join(here, folder, file), join(dist, folder, file));
  }
}
copyFileSync(join(sdk, "dist", "index.mjs"), join(dist, "vendor", "metered-realtime.mjs"));
const license = ["LICENSE", "LICENSE.md", "LICENSE.txt"].find((name) => existsSync(join(sdk, name)));
if (license) copyFileSync(join(sdk, license), join(dist, "vendor", "metered-realtime.LICENSE"));
console.log(`${dist}: answer page with SDK ${found}`);
