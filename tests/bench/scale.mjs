// How the cost of a call grows: with the phones that look, 1 to 8, and with the size of the picture. The door is the
// release build on a simulated board, the phones are light ones (receiver.mjs). Writes target/bench/scale.json, scale.md
// and scale.svg.
//   BENCH_QUICK=1    one round with short windows: tells whether it works, not what anything costs
//   SCALE_SIZES=…    only these sizes, as 640x480, separated by commas

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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
import { plot } from "./plot.mjs";
import { Receiver } from "./receiver.mjs";
import { MEASURES, blocksOf, boardTable, byWork, fits, grouped, lineTable, table, toOne, unitCosts } from "./scale-figures.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const OUT = resolve(HERE, "../../target/bench");
const QUICK = Boolean(process.env.BENCH_QUICK);
/** An even number: as many go up as go down. */
const ROUNDS = QUICK ? 1 : 6;
/** In pictures at a phone: what is left to settle after a change, and what is measured over. */
const [SETTLE, WINDOW] = QUICK ? [30, 60] : [90, 300];
const RATE = 30;
const MOST_PHONES = 8;
const BASE = "640x480";
/** What four phones may cost, one being 1. */
const GOAL = 1.15;
const SIZES = process.env.SCALE_SIZES?.split(",") ?? ["320x240", "640x480", "1280x720", "1920x1080"];
/** A picture takes at most so many times its usual time before a window is given up. */
const PATIENCE = 4;
const CONNECT_MS = 20_000;
/** How often a door is started for the preset it chooses. */
const ATTEMPTS = 5;
/** Of the range that is set aside for benchmarks (RFC 2544). */
const NET = { phones: "198.18.77.1", door: "198.18.77.2", port: 8_480 };
const PREFIX = "ics";
/**
 * What each would do by its profile; one with an encoder of its own also without it. `probe`: where a guess of its speed is
 * (tests/data/probes/README.md), which `intercomd devices --json` on the board replaces.
 */
const BOARDS = [
  { name: "Zero 2 W", probe: "raspberry-pi-zero-2-w-csi-camera", size: "640x480", rate: 25, hardware: true },
  { name: "Zero 2 W", probe: "raspberry-pi-zero-2-w-csi-camera", size: "640x480", rate: 25, hardware: false },
  { name: "Pi 3B+", probe: "raspberry-pi-3b-plus-usb-camera", size: "1280x720", rate: 25, hardware: true },
  { name: "Pi 3B+", probe: "raspberry-pi-3b-plus-usb-camera", size: "640x480", rate: 25, hardware: false },
  { name: "Pi 4B, CM4", probe: "raspberry-pi-4b-csi-camera", size: "1280x720", rate: 30, hardware: true },
  { name: "Pi 4B, CM4", probe: "raspberry-pi-4b-csi-camera", size: "1280x720", rate: 30, hardware: false },
  { name: "Pi 5", probe: "raspberry-pi-5-csi-camera", size: "1280x720", rate: 25, hardware: false },
  { name: "Pi 5", probe: "raspberry-pi-5-csi-camera", size: "1920x1080", rate: 30, hardware: false },
];

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
  sh("ip", "-n", name, "route", "add", "default", "via", NET.phones);
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

/** The presets that the door chose first, by size. */
const presets = new Map();

/** A door in a call, and phones that come and go. */
class Visit {
  phones = [];

  /**
   * The door chooses x264's preset by how fast the machine was in the moment it looked. Calls of one size are to be of one
   * preset, so a door that chose otherwise than the first is started again, some times.
   */
  static async begin(size) {
    for (let attempt = 1; ; attempt += 1) {
      const visit = new Visit();
      visit.size = size;
      await visit.#open();
      const { preset } = visit.plan;
      if (!presets.has(size)) presets.set(size, preset);
      if (preset === presets.get(size) || attempt === ATTEMPTS) return visit;
      await visit.end();
    }
  }

  async #open() {
    this.camera = await openCamera(this.size);
    const wishes = {
      size: this.size.split("x").map(Number),
      rules: `no_answer = "10min"\nmax_peers = ${MOST_PHONES}`,
      inside: [...(place?.inside ?? []), ...NICE],
      env: { INTERCOMD_LOG: "info,intercomd::media::speed=debug,intercomd::media::capture_engine=debug" },
    };
    this.door = doorsOf({ ...room, url: place?.url ?? room.url, cameraOf: () => this.camera }).intercomd(wishes);
    await this.door.start();
    await this.door.press();
    await until(() => this.plan.planned, "the door's plan", CONNECT_MS, () => this.door.log.slice(-2000));
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

  /** What stands in the log about the encoder; a null preset is another encoder than x264. */
  get plan() {
    const last = (pattern) => [...this.door.log.matchAll(pattern)].at(-1)?.[1] ?? null;
    const preset = last(/x264 at preset (\w+)/g) ?? (this.door.log.includes("too much for this machine") ? "ultrafast" : null);
    return { preset, speed: Number(last(/ speed=(\d+)/g)) || null, planned: this.door.log.includes("capture planned") };
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
    const { preset, speed } = this.plan;
    return {
      round,
      size: this.size,
      phones: this.phones.length,
      preset,
      speed,
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
const BEGIN = performance.now();
const folder = mkdtempSync(join(tmpdir(), "intercomd-scale-"));
const service = await Door.start();
let place = null;
let room = null;
const failures = [];
try {
  place = await house(service, folder);
  room = { channel: service.channel, key: service.key, url: service.ws, address: place ? NET.phones : "127.0.0.1" };
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const part of round % 2 ? [sizes, phones] : [phones, sizes]) {
      try {
        await part(round);
      } catch (error) {
        failures.push(`round ${round}, ${part.name}: ${error.message.split("\n")[0]}`);
        console.log(failures.at(-1));
      }
    }
  }
} finally {
  place?.close();
  await service.stop();
  rmSync(folder, { recursive: true, force: true });
}

const git = (...words) => execFileSync("git", words, { cwd: HERE, encoding: "utf8" }).trim();
const machine = { processors: cpus().length, model: cpus()[0]?.model };
const loads = summary([...samples.phones, ...samples.sizes].map(({ load }) => load));
const about = { date: new Date().toISOString(), commit: git("rev-parse", "--short", "HEAD"), quick: QUICK, rounds: ROUNDS, window: WINDOW, seconds: (performance.now() - BEGIN) / 1000, machine, failures, load: loads };
const byPhones = grouped(samples.phones, ({ phones }) => phones);
const bySize = grouped(samples.sizes, ({ size }) => blocksOf(size));
const named = (same) => [...new Set(same.map(({ preset }) => preset))].join(" or ");
const rows = [...bySize.values()].flatMap((same) => [...new Set(same.map(({ preset }) => preset))].map((preset) => [preset, same.filter((one) => one.preset === preset)])).map(([preset, same]) => [`${same[0].size}, ${preset}`, same]);
const four = toOne(samples.phones, 4, ({ cpu }) => cpu);
const here = unitCosts(samples, RATE);
const speedOf = (probe) => JSON.parse(readFileSync(resolve(HERE, `../data/probes/${probe}.json`), "utf8")).software_speed;
const boards = BOARDS.map((board) => ({ ...board, cores: 4, speed: speedOf(board.probe) }));
const text = [
  table(`phones, ${BASE}, ${named(samples.phones)}`, byPhones),
  lineTable(samples.phones),
  table("one phone", new Map(rows)),
  `CPU, four phones to one: ${cell(four)}${four.n ? ` (goal ${GOAL}: ${four.median <= GOAL ? "reached" : "missed"})` : ""}`,
  ...(here ? [`Here x264's fastest preset does ${here.speed} macroblocks a second at best; the boards' speeds are guesses.`, boardTable(here, boards, [1, 4, 8, 16])] : []),
].join("\n\n");

/** Points of these measures over the groups, with the lines through them where phones are counted. */
function panel(name, unit, of, measures, groups, x) {
  const series = measures.map((measure) => {
    const [, value] = MEASURES.find(([name]) => name === measure);
    const points = [...groups].map(([key, same]) => ({ x: x(key), values: same.map(value).filter(Number.isFinite) }));
    const { fixed, each } = groups === byPhones ? fits(samples.phones, (sample) => value(sample) ?? NaN) : { each: { n: 0 } };
    return { name: measure.split(",")[0], points: points.filter(({ values }) => values.length > 0), ...(each.n && { line: { fixed: fixed.median, each: each.median } }) };
  });
  return { name, unit, of, series };
}
const panels = [[byPhones, "phones", (phones) => phones], [bySize, "thousand macroblocks a second", (blocks) => (blocks * RATE) / 1000]].flatMap(([groups, of, x]) => [
  panel("CPU", "cores", of, ["CPU, cores", "encoder, cores", "network, cores"], groups, x),
  panel("Memory (PSS)", "MiB", of, ["PSS, MiB"], groups, x),
  panel("Datagrams out", "1/s", of, ["datagrams out, 1/s"], groups, x),
]);
const seen = panels.filter(({ series }) => series.every(({ points }) => points.length > 0));
mkdirSync(OUT, { recursive: true });
writeFileSync(join(OUT, "scale.json"), `${JSON.stringify({ about, samples }, null, 1)}\n`);
writeFileSync(join(OUT, "scale.md"), `${text}\n`);
writeFileSync(join(OUT, "scale.svg"), plot(`intercomd ${about.commit}, ${about.date}: what a call costs`, seen));
console.log(`\n${text}\n\n${about.date}, commit ${about.commit}, ${about.seconds.toFixed(0)} s, load ${cell(loads)} on ${machine.processors} processors (${machine.model})`);
// The library's own threads would keep the process.
process.exit(failures.length > 0 ? 1 : 0);
