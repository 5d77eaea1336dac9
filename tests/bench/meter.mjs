// What a door costs: CPU, memory and wake-ups of a process and all its children, read from /proc.

import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";

const TICKS = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));
const SAMPLE_MS = 500;

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Processes end while they are looked at.
    return "";
  }
}

/** Parent, CPU seconds and start of a process, or null. */
function stat(pid) {
  const text = read(`/proc/${pid}/stat`);
  if (!text) return null;
  const words = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { parent: Number(words[1]), cpu: (Number(words[11]) + Number(words[12])) / TICKS, start: words[19] };
}

/** The processes below `root`, itself among them: pid to `stat`. */
export function tree(root) {
  const all = new Map();
  for (const name of readdirSync("/proc")) {
    const entry = /^\d+$/.test(name) ? stat(name) : null;
    if (entry) all.set(Number(name), entry);
  }
  const found = new Map();
  const add = (pid) => {
    if (!all.has(pid) || found.has(pid)) return;
    found.set(pid, all.get(pid));
    for (const [other, { parent }] of all) if (parent === pid) add(other);
  };
  add(root);
  return found;
}

/** The newest process whose command line has `word` and whose parent's has not. */
export function rootWith(word) {
  const has = (pid) => read(`/proc/${pid}/cmdline`).includes(word);
  const roots = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid && has(name));
  const root = roots.find((pid) => !has(stat(pid)?.parent ?? 0));
  if (!root) throw new Error(`no process of ${word}`);
  return Number(root);
}

/** CPU seconds of one process, and of each of its present threads with the thread's name. */
export function usage(pid) {
  const threads = new Map();
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const [ran] = read(`/proc/${pid}/task/${task}/schedstat`).split(" ");
    threads.set(task, { name: read(`/proc/${pid}/task/${task}/comm`).trim(), cpu: Number(ran || 0) / 1e9 });
  }
  return { cpu: stat(pid)?.cpu ?? 0, threads };
}

/** Datagrams that were handed to the kernel in the network namespace of a process, ever. */
export function datagramsOut(pid) {
  const [names, values] = read(`/proc/${pid}/net/snmp`).split("\n").filter((line) => line.startsWith("Udp:")).map((line) => line.split(" "));
  const six = /^Udp6OutDatagrams\s+(\d+)/m.exec(read(`/proc/${pid}/net/snmp6`))?.[1] ?? 0;
  return Number(values[names.indexOf("OutDatagrams")]) + Number(six);
}

/** Proportional memory of a door, in MiB, and its threads. */
export function memory(root) {
  let pss = 0;
  let threads = 0;
  for (const pid of tree(root).keys()) {
    pss += Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0);
    threads += Number(/^Threads:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
  }
  return { pss: pss / 1024, threads };
}

/** How often the threads of a door have gone to sleep or were put to sleep, each of which ends with a wake-up. */
function switches(root) {
  const all = new Map();
  for (const pid of tree(root).keys()) {
    let tasks = [];
    try {
      tasks = readdirSync(`/proc/${pid}/task`);
    } catch {
      continue;
    }
    for (const task of tasks) {
      const count = /^voluntary_ctxt_switches:\s+(\d+)/m.exec(read(`/proc/${pid}/task/${task}/status`))?.[1];
      all.set(task, Number(count ?? 0));
    }
  }
  return all;
}

/** Counts from its making on. Looks twice a second, so that what ends meanwhile is counted nearly to its end. */
export class Meter {
  #cpu = new Map();
  #begin;
  #timer;

  constructor(root) {
    this.root = root;
    this.#begin = { at: performance.now(), cpu: this.#used(), switches: switches(root) };
    this.#timer = setInterval(() => this.#used(), SAMPLE_MS);
  }

  #used() {
    for (const [pid, { cpu, start }] of tree(this.root)) this.#cpu.set(`${pid} ${start}`, cpu);
    return [...this.#cpu.values()].reduce((sum, cpu) => sum + cpu, 0);
  }

  /** CPU in seconds per second, and wake-ups per second. */
  stop() {
    clearInterval(this.#timer);
    const seconds = (performance.now() - this.#begin.at) / 1000;
    const wakeups = [...switches(this.root)].map(([task, count]) => count - (this.#begin.switches.get(task) ?? 0));
    return {
      cpu: (this.#used() - this.#begin.cpu) / seconds,
      wakeups: wakeups.reduce((sum, count) => sum + count, 0) / seconds,
    };
  }
}
