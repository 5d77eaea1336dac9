// How the cost of a call grows: with the phones that look, 1 to 8, and with the size of the picture. The door is the
// release build on a simulated board, the phones are light ones (receiver.mjs). Writes target/bench/scale.json, scale.md
// and scale.svg.
//   BENCH_QUICK=1    one round with short windows: tells whether it works, not what anything costs
//   SCALE_SIZES=…    only these sizes, as 640x480, separated by commas

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { cpus, loadavg, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Door } from "../browser/door.mjs";
import { until, within } from "../browser/wait.mjs";
import { remove, sh, sweep } from "../net/namespaces.mjs";
import { lay } from "../net/wire.mjs";
import { doorsOf } from "./doors.mjs";
import { cell, summary } from "./figures.mjs";
import { datagramsOut, memory, usage } from "./meter.mjs";
import { Receiver } from "./receiver.mjs";
import { WORK, byWork, fits, grouped, plot, table, toOne } from "./scale-figures.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const OUT = resolve(HERE, "../../target/bench");
const QUICK = Boolean(process.env.BENCH_QUICK);
const ROUNDS = QUICK ? 1 : 5;
/** In pictures at a phone: what is left to settle after a change, and what is measured over. */
const [SETTLE, WINDOW] = QUICK ? [30, 60] : [60, 300];
const RATE = 30;
const MOST_PHONES = 8;
const BASE = "640x480";
const SIZES = process.env.SCALE_SIZES?.split(",") ?? ["320x240", "640x480", "1280x720", "1920x1080"];
/** A picture takes at most so many times its usual time before a window is given up. */
const PATIENCE = 4;
const CONNECT_MS = 20_000;
/** Of the range that is set aside for benchmarks (RFC 2544). */
const NET = { phones: "198.18.77.1", door: "198.18.77.2", port: 8_480 };
const PREFIX = "ics";

/**
 * A network namespace for the door, so that what the kernel counts there is the door's alone. Null without root: then
 * nothing is counted.
 */
async function house(service, folder) {
  if (process.getuid() !== 0) return null;
  sweep(PREFIX);
  const name = `${PREFIX}${process.pid}-door`;
  sh("ip", "netns", "add", name);
  sh("ip", "link", "add", `${PREFIX}${process.pid}`, "type", "veth", "peer", "name", "eth0", "netns", name);
  sh("ip", "address", "add", `${NET.phones}/30`, "dev", `${PREFIX}${process.pid}`);
  sh("ip", "link", "set", `${PREFIX}${process.pid}`, "up");
  sh("ip", "-n", name, "address", "add", `${NET.door}/30`, "dev", "eth0");
  for (const link of ["lo", "eth0"]) sh("ip", "-n", name, "link", "set", link, "up");
  const inside = ["ip", "netns", "exec", name];
  // A key goes to this machine only, so the service is brought to where the door is.
  const path = join(folder, "service.sock");
  const passing = createServer((near) => {
    const far = connect(service.port, "127.0.0.1");
    for (const [one, other] of [[near, far], [far, near]]) one.on("error", () => other.destroy()).pipe(other);
  }).listen(path);
  const wire = await lay({ inside: () => inside }, "door", { host: "127.0.0.1", port: NET.port }, { path });
  const close = () => {
    wire.close();
    passing.close();
    remove(name);
  };
  return { inside, url: `ws://127.0.0.1:${NET.port}`, close };
}

async function openCamera(size) {
  const folder = mkdtempSync(join(tmpdir(), "intercomd-scale-"));
  const camera = { shm: join(folder, "camera.shm") };
  const words = [join(HERE, "camera.py"), "--shm", camera.shm, "--raw", join(folder, "camera.raw"), "--size", size];
  const child = spawn("/usr/bin/python3", words, { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  await within(new Promise((resolve) => createInterface({ input: child.stdout }).once("line", resolve)), "the camera", 60_000);
  camera.close = async () => {
    child.stdin.end();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  return camera;
}

/** A door in a call, and phones that come and go. */
class Visit {
  phones = [];

  static async begin(size) {
    const visit = new Visit();
    visit.size = size;
    visit.camera = await openCamera(size);
    const wishes = {
      size: size.split("x").map(Number),
      rules: `no_answer = "10min"\nmax_peers = ${MOST_PHONES}`,
      inside: [...(place?.inside ?? []), ...NICE],
      env: { INTERCOMD_LOG: "info,intercomd::media::speed=debug,intercomd::media::capture_engine=debug" },
    };
    visit.door = doorsOf({ ...room, url: place?.url ?? room.url, camera: visit.camera }).intercomd(wishes);
    await visit.door.start();
    await visit.door.press();
    return visit;
  }

  async has(count) {
    while (this.phones.length > count) await this.phones.pop().leave();
    const fresh = [];
    while (this.phones.length < count) {
      const phone = await Receiver.join(room);
      this.phones.push(phone);
      fresh.push(phone);
    }
    await Promise.all(fresh.map((phone) => phone.frames(1, CONNECT_MS)));
    const served = ({ peers }) => peers.filter(({ link }) => link === "connected").length === count;
    await until(async () => served(await this.door.status()), `${count} phones at the door`, CONNECT_MS);
    await this.phones[0].frames(SETTLE, (PATIENCE * SETTLE * 1000) / RATE);
  }

  /** What stands in the log about the encoder. */
  get plan() {
    const last = (pattern) => [...this.door.log.matchAll(pattern)].at(-1)?.[1] ?? null;
    return { preset: last(/x264 at preset (\w+)/g) ?? last(/(too much for this machine)/g), speed: Number(last(/speed=(\d+)/g)) || null };
  }

  #look() {
    const pid = this.door.root;
    const counts = this.phones.map(({ counts }) => ({ ...counts }));
    const lost = this.phones.reduce((sum, phone) => sum + phone.lost, 0);
    return { at: performance.now(), ...usage(pid), sends: place ? datagramsOut(pid) : null, counts, lost };
  }

  async measure(round) {
    const before = this.#look();
    await this.phones[0].frames(WINDOW, (PATIENCE * WINDOW * 1000) / RATE);
    const after = this.#look();
    const { media, peers } = await this.door.status();
    const seconds = (after.at - before.at) / 1000;
    const each = (value) => after.counts.map((now, n) => (value(now) - value(before.counts[n])) / seconds);
    const threads = {};
    for (const [task, { name, cpu }] of after.threads) {
      threads[name] = (threads[name] ?? 0) + (cpu - (before.threads.get(task)?.cpu ?? 0)) / seconds;
    }
    const { pss, threads: count } = memory(this.door.root);
    return {
      round,
      size: this.size,
      phones: this.phones.length,
      ...this.plan,
      seconds,
      cpu: (after.cpu - before.cpu) / seconds,
      names: threads,
      work: byWork(threads),
      pss,
      threads: count,
      sends: place ? (after.sends - before.sends) / seconds : null,
      rates: each(({ frames }) => frames),
      packets: each(({ video, audio }) => video + audio),
      kbps: each(({ bytes }) => (8 * bytes) / 1000),
      lost: after.lost - before.lost,
      told: media.bitrate_kbps,
      whole: peers.filter(({ picture }) => picture === "full").length,
      load: loadavg()[0],
    };
  }

  async end() {
    for (const phone of this.phones) await phone.leave();
    await this.door.stop();
    await this.camera.close();
  }
}

const samples = { phones: [], sizes: [] };
async function take(kind, visit, round) {
  const sample = await visit.measure(round);
  samples[kind].push(sample);
  const { size, phones, cpu, sends, rates, preset, told, lost } = sample;
  const seen = `${Math.min(...rates).toFixed(1)} pictures/s at the slowest, ${told} kbit/s, ${lost} lost, preset ${preset}`;
  console.log(`round ${round} ${size} ${phones} phones: ${cpu.toFixed(3)} cores, ${sends?.toFixed(0) ?? "-"} datagrams/s, ${seen}`);
}

/** One call with 1 to 8 phones, every other round from 8 down. */
async function phones(round) {
  const visit = await Visit.begin(BASE);
  try {
    const counts = Array.from({ length: MOST_PHONES }, (_, n) => n + 1);
    for (const count of round % 2 ? counts.reverse() : counts) {
      await visit.has(count);
      await take("phones", visit, round);
    }
  } finally {
    await visit.end();
  }
}

async function sizes(round) {
  for (const size of round % 2 ? [...SIZES].reverse() : SIZES) {
    const visit = await Visit.begin(size);
    try {
      await visit.has(1);
      await take("sizes", visit, round);
    } finally {
      await visit.end();
    }
  }
}

/** Being asked to be nicer than others is root's. */
const NICE = process.getuid() === 0 ? ["nice", "-n", "-5"] : [];
const begin = performance.now();
const folder = mkdtempSync(join(tmpdir(), "intercomd-scale-"));
const service = await Door.start();
let place = null;
let room = null;
let failure = null;
try {
  place = await house(service, folder);
  room = { channel: service.channel, key: service.key, url: service.ws, address: place ? NET.phones : "127.0.0.1" };
  for (let round = 0; round < ROUNDS; round += 1) {
    const parts = [phones, sizes];
    for (const part of round % 2 ? parts.reverse() : parts) await part(round);
  }
} catch (error) {
  failure = error;
}
place?.close();
await service.stop();
rmSync(folder, { recursive: true, force: true });

const blocksOf = (size) => size.split("x").reduce((product, side) => product * Math.ceil(Number(side) / 16), 1);
const git = (...words) => execFileSync("git", words, { cwd: HERE, encoding: "utf8" }).trim();
const machine = { processors: cpus().length, model: cpus()[0]?.model };
const about = { date: new Date().toISOString(), commit: git("rev-parse", "--short", "HEAD"), quick: QUICK, rounds: ROUNDS, window: WINDOW, seconds: (performance.now() - begin) / 1000, machine };
const byPhones = grouped(samples.phones, ({ phones }) => phones);
const bySize = grouped(samples.sizes, ({ size }) => blocksOf(size));
const named = new Map([...bySize.values()].map((same) => [`${same[0].size}, ${[...new Set(same.map(({ preset }) => preset))].join(" and ")}`, same]));
const lines = Object.fromEntries([["CPU", ({ cpu }) => cpu], ...WORK.map((kind) => [kind, ({ work }) => work[kind]]), ["PSS", ({ pss }) => pss], ["sends", ({ sends }) => sends ?? NaN]].map(([name, value]) => [name, fits(samples.phones, value)]));
const fitted = Object.entries(lines).map(([name, { fixed, each }]) => `| ${name} | ${cell(fixed)} | ${each.n ? `${each.median.toPrecision(3)} (${each.low.toPrecision(3)} to ${each.high.toPrecision(3)})` : "-"} |`);
const ratio = toOne(samples.phones, 4, ({ cpu }) => cpu);
const speeds = summary([...samples.phones, ...samples.sizes].map(({ speed }) => speed).filter(Boolean));
const text = [
  table(`phones at ${BASE}`, byPhones),
  table("one phone, size and preset", named),
  ["| of a call | fixed | for each phone |", "|--|--|--|", ...fitted].join("\n"),
  `CPU with four phones to one: ${cell(ratio)}, goal 1.15: ${ratio.median <= 1.15 ? "reached" : "missed"}; x264 ultrafast here: ${cell(speeds)} macroblocks a second on one core`,
].join("\n\n");
const over = (groups, value, x = (key) => key) => [...groups].map(([key, same]) => ({ x: x(key), values: same.map(value).filter(Number.isFinite) })).filter(({ values }) => values.length > 0);
const straight = ({ fixed, each }) => (each.n ? { fixed: fixed.median, each: each.median } : undefined);
const panels = [
  { name: "CPU", unit: "cores", of: "phones", series: ["CPU", "encoder", "network"].map((name) => ({ name, points: over(byPhones, name === "CPU" ? ({ cpu }) => cpu : ({ work }) => work[name]), line: straight(lines[name]) })) },
  { name: "Memory (PSS)", unit: "MiB", of: "phones", series: [{ name: "PSS", points: over(byPhones, ({ pss }) => pss), line: straight(lines.PSS) }] },
  { name: "Datagrams out", unit: "1/s", of: "phones", series: [{ name: "sends", points: over(byPhones, ({ sends }) => sends ?? NaN), line: straight(lines.sends) }] },
  { name: "CPU", unit: "cores", of: "thousand macroblocks a second", series: ["CPU", "encoder", "network"].map((name) => ({ name, points: over(bySize, name === "CPU" ? ({ cpu }) => cpu : ({ work }) => work[name], (blocks) => (blocks * RATE) / 1000) })) },
  { name: "Memory (PSS)", unit: "MiB", of: "thousand macroblocks a second", series: [{ name: "PSS", points: over(bySize, ({ pss }) => pss, (blocks) => (blocks * RATE) / 1000) }] },
  { name: "Datagrams out", unit: "1/s", of: "thousand macroblocks a second", series: [{ name: "sends", points: over(bySize, ({ sends }) => sends ?? NaN, (blocks) => (blocks * RATE) / 1000) }] },
].filter(({ series }) => series.every(({ points }) => points.length > 0));
mkdirSync(OUT, { recursive: true });
writeFileSync(join(OUT, "scale.json"), `${JSON.stringify({ about, samples }, null, 1)}\n`);
writeFileSync(join(OUT, "scale.md"), `${text}\n`);
writeFileSync(join(OUT, "scale.svg"), plot(`intercomd ${about.commit}, ${about.date}: what a call costs`, panels));
console.log(`\n${text}\n\n${about.date}, commit ${about.commit}, ${about.seconds.toFixed(0)} s, ${machine.processors} x ${machine.model}`);
if (failure) throw failure;
