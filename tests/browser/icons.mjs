// Makes the PNG icons of the answer page from web/icon.svg: `node icons.mjs`. They are committed, so that building
// the page needs no browser; run it again when the drawing has changed.

import { chromium } from "playwright-core";
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const WEB = resolve(dirname(fileURLToPath(import.meta.url)), "../../web");
/** `bleed`: the colour goes to the edge, for systems that cut a shape of their own; `scale` keeps the drawing within it. */
const ICONS = [
  { file: "icon-192.png", size: 192, bleed: false, scale: 1 },
  { file: "icon-512.png", size: 512, bleed: false, scale: 1 },
  { file: "maskable-512.png", size: 512, bleed: true, scale: 0.86 },
  { file: "apple-touch-180.png", size: 180, bleed: true, scale: 0.94 },
];

const svg = readFileSync(join(WEB, "icon.svg"), "utf8");
const ground = /<rect [^>]*fill="(#[0-9a-f]{6})"/.exec(svg)[1];
mkdirSync(join(WEB, "icons"), { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
for (const { file, size, bleed, scale } of ICONS) {
  const page = await browser.newPage({ viewport: { width: size, height: size } });
  const drawn = Math.round(size * scale);
  const back = bleed ? ground : "transparent";
  await page.setContent(`<style>html,body{margin:0;height:100%;background:${back}}body{display:grid;place-items:center}svg{width:${drawn}px;height:${drawn}px}</style>${svg}`);
  await page.screenshot({ path: join(WEB, "icons", file), omitBackground: true });
  await page.close();
  console.log(`web/icons/${file}: ${size} px`);
}
await browser.close();
