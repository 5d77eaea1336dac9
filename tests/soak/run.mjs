// The soak: calls with ends by chance for a long time, then a judgement whether threads, descriptors, memory and files are
// flat. Writes samples, a plot and the door's log of each part into the output folder. Closes with: N passed, N failed.
//   SOAK_MINUTES=60   how long, all parts together
//   SOAK_SEED=…       the same ends again; each run prints its own
//   SOAK_PARTS=…      `light` (phones in this process), `chromium`, or both separated by a comma
//   SOAK_CALLS=…      no part has more calls than this
//   SOAK_SHORT=1      no end that takes a minute
//   SOAK_OUT=…        the output folder, target/soak if unset

import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BrowserHouse } from "./chromium.mjs";
import { House } from "./house.mjs";
import { judge, leastCalls, withLines, words } from "./judge.mjs";
import { plot } from "./plot.mjs";
import { settledSample } from "./samples.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const OUT = resolve(process.env.SOAK_OUT ?? join(HERE, "../../target/soak"));
const MINUTES = Number(process.env.SOAK_MINUTES ?? 60);
const CALLS = Number(process.env.SOAK_CALLS ?? Infinity);
const SHORT = Boolean(process.env.SOAK_SHORT);
const SEED = Number(process.env.SOAK_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** What each part is, its share of the time, and after how many calls a sample is taken: that takes some seconds. */
const PARTS = {
  light: { open: House.open, share: 0.75, every: 30, what: "calls with light phones" },
  chromium: { open: BrowserHouse.open, share: 0.25, every: 20, what: "calls with Chromium" },
};
const COMMIT = commit();
const wanted = (process.env.SOAK_PARTS ?? Object.keys(PARTS).join(",")).split(",");

function commit() {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: HERE, encoding: "utf8", stdio: "pipe" }).trim();
  } catch {
    // The sources of a release are no repository.
    return "unknown";
  }
}

let stopped = false;
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => (stopped = true));

const checks = [];
const check = (good, text) => {
  checks.push(good);
  console.log(`${good ? "ok" : "NOT OK"}: ${text}`);
};

/** Calls until the time is up, with a sample now and then. Gives what there is to judge. */
async function run(name, minutes) {
  const { open, every } = PARTS[name];
  const begin = performance.now();
  const house = await open(SEED, SHORT);
  const samples = [];
  let failure = null;
  const take = async () => {
    const sample = { ...(await settledSample(house.door, house.calls)), seconds: Math.round((performance.now() - begin) / 1000) };
    samples.push(sample);
    const { calls, threads, descriptors, pss, anonymous, files, seconds } = sample;
    console.log(`${name} ${seconds}s: ${calls} calls, ${threads} threads, ${descriptors} descriptors, PSS ${pss.toFixed(1)} MiB, anonymous ${anonymous.toFixed(1)} MiB, ${files} files`);
  };
  try {
    await take();
    // On a slow machine it takes longer rather than judging from nothing.
    const isEnough = () => performance.now() - begin > minutes * 60_000 && house.calls >= leastCalls(every);
    const isOver = () => stopped || house.calls >= CALLS || isEnough();
    while (!isOver()) {
      await house.call();
      if (house.calls % every === 0) await take();
    }
    // After one or two calls more it would tell of these alone.
    if (house.calls >= samples.at(-1).calls + every / 2) await take();
  } catch (error) {
    failure = error;
  }
  const counters = { ...house.status?.counters, links_replaced: house.linksReplaced };
  const end = await house.close().catch((error) => ({ code: error.message }));
  writeFileSync(join(OUT, `${name}.log`), house.door.wholeLog);
  return { samples: withLines(samples), failure, end, calls: house.calls, tally: house.tally, counters, log: house.door.wholeLog };
}

function report(name, { samples, failure, end, calls, tally, counters, log }) {
  const { what } = PARTS[name];
  console.log(`\n${calls} ${what}, seed ${SEED}: ${JSON.stringify(tally)}`);
  console.log(`counted: ${JSON.stringify(Object.fromEntries(Object.entries(counters).filter(([, count]) => count > 0)))}`);
  check(failure === null, `${what} kept every promise${failure ? `, but: ${failure.message}` : ""}`);
  check(end.code === 0, `the daemon ended with code ${end.code}`);
  check(!/panicked/.test(log), "no panic in the log");
  let verdicts = [];
  try {
    verdicts = judge(samples);
  } catch (error) {
    check(false, error.message);
  }
  for (const verdict of verdicts) check(verdict.flat, words(verdict));
  const about = { date: new Date().toISOString(), commit: COMMIT, seed: SEED, minutes: MINUTES, processors: cpus().length, load: loadavg() };
  writeFileSync(join(OUT, `${name}.json`), `${JSON.stringify({ about, calls, tally, counters, failure: failure?.message, verdicts, samples }, null, 1)}\n`);
  writeFileSync(join(OUT, `${name}.svg`), plot(`${calls} ${what}, ${about.date}, commit ${about.commit}`, samples));
}

mkdirSync(OUT, { recursive: true });
console.log(`seed ${SEED}; SOAK_SEED=${SEED} repeats it`);
const shares = wanted.reduce((sum, name) => sum + PARTS[name].share, 0);
for (const name of wanted) {
  if (stopped) break;
  try {
    report(name, await run(name, (MINUTES * PARTS[name].share) / shares));
  } catch (error) {
    check(false, `${PARTS[name].what}: ${error.stack}`);
  }
}
console.log(`samples and plots are in ${OUT}`);
const failed = checks.filter((good) => !good).length;
console.log(`${checks.length - failed} passed, ${failed} failed`);
// The threads of the phones' library would keep this process.
process.exit(failed === 0 ? 0 : 1);
