// The scenario bench: five doors, one machine, one go. Doors take turns within each round, in an order that moves on,
// so that what else the machine does meets all of them. Writes target/bench/results.json, table.md and bench.svg.
//   BENCH_QUICK=1    fewer rounds, under five minutes
//   BENCH_DOORS=…    only these, separated by commas
//   BENCH_PARTS=…    only these: presses, calls, wide, cold, tutorial, four, back

import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { floorOf } from "./doors.mjs";
import { picture, quantile, table } from "./figures.mjs";
import { Meter, memory } from "./meter.mjs";
import { Stage, call, pause } from "./stage.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const OUT = resolve(HERE, "../../target/bench");
const QUICK = Boolean(process.env.BENCH_QUICK);
const ROUNDS = QUICK ? { press: 8, tutorial: 8, cold: 2, call: 1, back: 1, wide: 1, four: 1 } : { press: 15, tutorial: 15, cold: 8, call: 5, back: 3, wide: 3, four: 3 };
const [IDLE_S, SETTLE_S, CALL_S] = QUICK ? [8, 2, 4] : [30, 5, 12];
/** No round is begun later than this; what a busy machine does not get to is left out and said so. */
const LIMIT_S = QUICK ? 270 : 2_400;
const WIDE = [1280, 720];

const MEASURES = [
  { name: "press to first picture", unit: "ms", goals: { python: 0.8, kiosk: 0.6 } },
  { name: "the same, door polite", unit: "ms" },
  { name: "the same, door impolite", unit: "ms" },
  { name: "press to first picture, tutorial page", unit: "ms", goals: { python: 0.8, kiosk: 0.6 } },
  { name: "cold start to first picture", unit: "ms", goals: { python: 0.6 } },
  { name: "glass to glass, median", unit: "ms" },
  { name: "glass to glass, 95 of 100", unit: "ms" },
  { name: "phone to door, median", unit: "ms", goals: { python: 0.3, webrtcbin: 1.2 } },
  { name: "phone to door, 95 of 100", unit: "ms" },
  { name: "phone's pictures at the door", unit: "1/s" },
  { name: "CPU, two-way 480p", unit: "cores", goals: { webrtcbin: 0.85, python: 0.5, kiosk: 0.5 } },
  { name: "the same to the bare codecs", unit: "times", most: 1.5 },
  { name: "pictures at the phone", unit: "1/s" },
  { name: "CPU for each picture", unit: "ms" },
  { name: "CPU, two-way, 720p out", unit: "cores", goals: { datachannel: 0.85 } },
  { name: "720p pictures at the phone", unit: "1/s" },
  { name: "CPU, four phones", unit: "cores" },
  { name: "CPU, four phones to one", unit: "times" },
  { name: "slowest of four phones", unit: "1/s" },
  { name: "PSS in a call", unit: "MiB", goals: { webrtcbin: 0.6 } },
  { name: "PSS idle", unit: "MiB", goals: { webrtcbin: 0.5 } },
  { name: "wake-ups idle", unit: "1/s" },
  { name: "CPU idle", unit: "%" },
];

const samples = {};
const take = (measure, door, value) => {
  ((samples[measure] ??= {})[door] ??= []).push(value);
  const shown = typeof value === "number" ? Number(value.toFixed(3)) : value;
  console.log(`${((performance.now() - BEGIN) / 1000).toFixed(0)}s ${measure}: ${door} ${shown}`);
};
const BEGIN = performance.now();

/** Whose turn it is in each round, each beginning one further on; none once the time is up. */
function* turns(what, all, rounds) {
  for (let turn = 0; turn < rounds * all.length; turn += 1) {
    if ((performance.now() - BEGIN) / 1000 > LIMIT_S) {
      console.log(`${what}: the time is up after ${turn} of ${rounds * all.length} turns`);
      return;
    }
    const round = Math.floor(turn / all.length);
    yield [all[(turn + round) % all.length], round];
  }
}

async function idle(doors) {
  await pause(2_000);
  const meters = doors.map((door) => [door, new Meter(door.root)]);
  await pause(IDLE_S * 1000);
  for (const [door, meter] of meters) {
    const { cpu, wakeups } = meter.stop();
    take("CPU idle", door.name, 100 * cpu);
    take("wake-ups idle", door.name, wakeups);
    take("PSS idle", door.name, memory(door.root).pss);
  }
}

async function presses(doors, impolite, phone) {
  const ours = doors.find((door) => door.name === "intercomd");
  const roles = impolite ? [[ours, "polite"], [impolite, "impolite"]] : [];
  for (const [turn] of turns("presses", [...doors, ...roles], ROUNDS.press)) {
    const [door, role] = [turn].flat();
    take(role ? `the same, door ${role}` : "press to first picture", door.name, await call(door, phone));
  }
  for (const [door, role] of roles) console.log(`where the time went, door ${role}: ${JSON.stringify(await door.budget())}`);
}

async function tutorial(doors, house) {
  // These three give way when both sides offer; the others cannot.
  const able = doors.filter(({ name }) => ["intercomd", "python", "kiosk"].includes(name));
  const phone = await house.phone({ talk: "tutorial" });
  for (const [door] of turns("tutorial page", able, ROUNDS.tutorial)) {
    take("press to first picture, tutorial page", door.name, await call(door, phone));
  }
  await phone.close();
}

const decoded = (phone) => phone.evaluate(() => window.bench.decoded());

/** CPU of a door and pictures per second at each phone, over the time of a call. */
async function measure(door, phones) {
  const before = await Promise.all(phones.map(decoded));
  const [meter, begin] = [new Meter(door.root), performance.now()];
  await pause(CALL_S * 1000);
  const { cpu } = meter.stop();
  const after = await Promise.all(phones.map(decoded));
  const seconds = (performance.now() - begin) / 1000;
  return { cpu, rates: after.map((now, n) => ((now?.frames ?? 0) - (before[n]?.frames ?? 0)) / seconds) };
}

async function calls(doors, drawn, floor, phone) {
  const [costs, bare] = [[], []];
  for (const [door] of turns("calls", [...doors, ...drawn, floor], ROUNDS.call)) {
    if (door === floor) {
      await floor.press();
      await pause(SETTLE_S * 1000);
      bare.push((await measure(floor, [])).cpu);
      await floor.hangup();
      continue;
    }
    await call(door, phone, async () => {
      await pause(SETTLE_S * 1000);
      await phone.evaluate(() => window.bench.clear());
      const { cpu, rates } = await measure(door, [phone]);
      const ages = await phone.evaluate(() => window.bench.shown.map(({ age }) => age).filter((age) => age !== null));
      if (ages.length > 0) {
        take("glass to glass, median", door.name, quantile(ages, 0.5));
        take("glass to glass, 95 of 100", door.name, quantile(ages, 0.95));
      }
      if (drawn.includes(door)) return;
      take("CPU, two-way 480p", door.name, cpu);
      take("pictures at the phone", door.name, rates[0]);
      take("CPU for each picture", door.name, (1000 * cpu) / rates[0]);
      take("PSS in a call", door.name, memory(door.root).pss);
      costs.push([door.name, cpu]);
      if ((await phone.evaluate(() => window.bench.sent())) === 0) console.log(`${door.name}: the phone sends nothing`);
    });
  }
  const least = quantile(bare, 0.5);
  if (least) for (const [name, cpu] of costs) take("the same to the bare codecs", name, cpu / least);
  return bare;
}

/** How old the phone's picture is where the door shows it. Calls of their own: that it is read costs the doors something. */
async function back(stage) {
  const makers = stage.makers(wanted);
  const doors = await stage.start(makers, { seen: true });
  const phone = await stage.house.phone({ talk: "answer", drawn: "1" });
  for (const [door] of turns("the phone's picture", doors, ROUNDS.back)) {
    await call(door, phone, async () => {
      await pause(SETTLE_S * 1000);
      await door.ages();
      const begin = performance.now();
      await pause(CALL_S * 1000);
      const ages = await door.ages();
      const seconds = (performance.now() - begin) / 1000;
      take("phone to door, median", door.name, quantile(ages, 0.5));
      take("phone to door, 95 of 100", door.name, quantile(ages, 0.95));
      take("phone's pictures at the door", door.name, ages.length / seconds);
    });
  }
  await phone.close();
  await stage.end(doors);
}

/** The larger picture, by the doors that can be told its size. What sends a smaller one has failed. */
async function wide(stage, phone) {
  await stage.camera(WIDE);
  const all = Object.entries(stage.makers(wanted)).filter(([name]) => ["intercomd", "webrtcbin", "datachannel"].includes(name));
  const doors = await stage.start(Object.fromEntries(all), { size: WIDE });
  for (const [door] of turns("720p", doors, ROUNDS.wide)) {
    await call(door, phone, async () => {
      await pause(SETTLE_S * 1000);
      const before = await decoded(phone);
      const { cpu, rates } = await measure(door, [phone]);
      const whole = [before, await decoded(phone)].every((seen) => seen?.width === WIDE[0]);
      take("CPU, two-way, 720p out", door.name, whole ? cpu : null);
      take("720p pictures at the phone", door.name, whole ? rates[0] : null);
    });
  }
  await stage.end(doors);
}

/** One phone that looks, then three more that come to the same call. */
async function fourPhones(doors, house) {
  const first = await house.phone({});
  for (const [door] of turns("four phones", doors, ROUNDS.four)) {
    await call(door, first, async () => {
      await pause(SETTLE_S * 1000);
      const one = await measure(door, [first]);
      const phones = [first];
      while (phones.length < 4) phones.push(await house.phone({}));
      await pause(SETTLE_S * 1000);
      const four = await measure(door, phones);
      for (const phone of phones.slice(1)) await phone.close();
      // What reaches not all of them costs little, and says nothing.
      if (Math.min(...four.rates) < 1) four.cpu = one.cpu = null;
      take("CPU, four phones", door.name, four.cpu);
      take("CPU, four phones to one", door.name, four.cpu && four.cpu / one.cpu);
      take("slowest of four phones", door.name, Math.min(...four.rates));
    });
  }
  await first.close();
}

async function cold(makers, phone) {
  for (const [make] of turns("cold starts", Object.values(makers), ROUNDS.cold)) {
    const door = make();
    const begin = Date.now();
    await door.start();
    const start = Date.now() - begin;
    const first = await call(door, phone);
    take("cold start to first picture", door.name, first === null ? null : start + first);
    await door.stop();
  }
}

/** One of our doors in the other role than `door`, which depends on the ids that the service gives. */
async function otherRole(make, door, own) {
  const wanted = !(await door.isPolite(own));
  for (let attempt = 0; attempt < 12; attempt += 1) {
    const other = await make().start();
    if ((await other.isPolite(own)) === wanted) return other;
    await other.stop();
  }
  return null;
}

const git = (...words) => execFileSync("git", words, { cwd: HERE, encoding: "utf8" }).trim();
const stage = await Stage.open();
const { house, running } = stage;
const wanted = process.env.BENCH_DOORS?.split(",");
const parts = process.env.BENCH_PARTS?.split(",");
const has = (part) => parts?.includes(part) ?? true;
const makers = stage.makers(wanted);
let [failure, bare] = [null, []];
try {
  const doors = await stage.start(makers);
  await idle(doors);
  const phone = await house.phone({ talk: "answer", clock: "1" });
  let [polite, impolite] = [doors.find(({ name }) => name === "intercomd"), null];
  if (polite) {
    const own = await phone.evaluate(() => window.bench.own);
    if (!own) throw new Error("the phone does not know its own id");
    impolite = await otherRole(makers.intercomd, polite, own);
    if (impolite) running.push(impolite);
    if (impolite && !(await polite.isPolite(own))) {
      [polite, impolite] = [impolite, polite];
      doors[doors.indexOf(impolite)] = polite;
    }
  }
  // Once for nothing: each program loads what it needs.
  for (const door of [...doors, ...(impolite ? [impolite] : [])]) await call(door, phone);
  if (has("presses")) await presses(doors, impolite, phone);
  if (has("calls")) {
    const drawn = makers.kiosk ? [await makers.kiosk({ drawn: true }).start()] : [];
    const floor = await floorOf(stage.room).start();
    running.push(...drawn, floor);
    bare = await calls(doors, drawn, floor, phone);
    await stage.end([...drawn, floor]);
  }
  if (has("wide")) await wide(stage, phone);
  if (has("cold")) await cold(makers, phone);
  await phone.close();
  if (has("tutorial")) await tutorial(doors, house);
  if (has("four")) await fourPhones(doors, house);
  // Doors of another kind: those so far would only take its time from the machine.
  await stage.end([...running]);
  if (has("back")) await back(stage);
} catch (error) {
  failure = error;
}
await stage.close();

const names = Object.keys(makers);
const machine = { processors: cpus().length, model: cpus()[0]?.model, load: loadavg() };
const about = { date: new Date().toISOString(), commit: git("rev-parse", "--short", "HEAD"), quick: QUICK, bareCodecs: bare, seconds: (performance.now() - BEGIN) / 1000, machine };
mkdirSync(OUT, { recursive: true });
const text = table(MEASURES, names, samples);
writeFileSync(join(OUT, "results.json"), `${JSON.stringify({ about, samples }, null, 1)}\n`);
writeFileSync(join(OUT, "table.md"), `${text}\n`);
writeFileSync(join(OUT, "bench.svg"), picture(`intercomd ${about.commit}, ${about.date}`, MEASURES, names, samples));
console.log(`\n${text}\n\n${about.date}, commit ${about.commit}, ${about.seconds.toFixed(0)} s, load ${machine.load[0].toFixed(1)} on ${machine.processors} processors`);
if (failure) throw failure;
