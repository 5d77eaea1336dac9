// The phone of called.sh: Chromium on a machine of its own in the door's network. Prints a verdict for each thing, as lib.sh does.
//   node answer.mjs FOLDER INTERFACE      where word is left; what joins this machine to the door's network

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Phone } from "../browser/phone.mjs";
import { until } from "../browser/wait.mjs";

const [folder, line] = process.argv.slice(2);
const OTHER_MS = 120_000;
/** A picture that stands for so long is a network that is away. */
const STILL_MS = 2_000;
const AWAY_MS = 8_000;

const tell = (word) => writeFileSync(join(folder, word), "");
const told = (word) => until(() => existsSync(join(folder, word)), word, OTHER_MS);
let phone;
const decoded = () => phone.page.evaluate(() => document.querySelector("#visitor").getVideoPlaybackQuality().totalVideoFrames);
const pictures = async (what, ms = 20_000) => {
  const first = await decoded();
  await until(async () => (await decoded()) > first + 10, what, ms);
};
const stands = async () => {
  let [last, since] = [await decoded(), performance.now()];
  await until(async () => {
    const now = await decoded();
    if (now !== last) [last, since] = [now, performance.now()];
    return performance.now() - since > STILL_MS;
  }, "a picture that stands", 20_000);
};
const step = async (name, work) => {
  await work();
  console.log(`ok      ${name}`);
};

try {
  await told("pair");
  const { address } = JSON.parse(readFileSync(join(folder, "pair"), "utf8"));
  // The door made its certificate itself: a person says yes to it once.
  phone = await Phone.open({ trusting: true });
  await step("a browser in the same network opens the page that the door tells", () => phone.watch({ link: address }));
  tell("armed");
  await step("it rings there", () => phone.untilState("ringing"));
  await step("and shows a picture that moves on", () => pictures("pictures while it rings"));
  await step("it is answered", async () => {
    await phone.page.click("#answer");
    await phone.untilState("talking");
    await pictures("pictures in the talk");
  });
  await step("with the network pulled the picture stands", async () => {
    execFileSync("ip", ["link", "set", line, "down"]);
    await stands();
    await new Promise((resolve) => setTimeout(resolve, AWAY_MS));
  });
  await step("with the network back it goes on by itself", async () => {
    execFileSync("ip", ["link", "set", line, "up"]);
    await pictures("pictures after the network came back", 60_000);
    await phone.untilState("talking", 60_000);
  });
  tell("pulled");
  await step("the next call rings, too", () => phone.untilState("ringing", OTHER_MS));
  await step("and is answered", async () => {
    await phone.page.click("#answer");
    await phone.untilState("talking");
    await pictures("pictures of the next call");
  });
  tell("answered");
  await step("its end is shown", () => phone.untilState("armed", 30_000));
  tell("over");
} catch (error) {
  console.log(`FAILED  the phone: ${error.message.replace(/key=[^&'" ]*/g, "key=...")}`);
  process.exitCode = 1;
} finally {
  await phone?.close();
}
