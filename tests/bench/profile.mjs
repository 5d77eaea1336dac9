// Where a call's CPU goes: of each door the time of its threads, and, where perf is installed, what each library takes of it.
// Writes target/bench/profile.md. No figure here is compared by the machine; they say where to look.
//   BENCH_DOORS=…    these doors, separated by commas; intercomd and webrtcbin if nothing is said

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Meter, tree, usage } from "./meter.mjs";
import { Stage, call, pause } from "./stage.mjs";

const OUT = resolve(dirname(fileURLToPath(import.meta.url)), "../../target/bench");
const [SETTLE_MS, WINDOW_S] = [6_000, 15];
/** Times a second that perf looks, off every rate that media has. */
const LOOKS = "3997";
const has = (program) => spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0;

/** Thousandths of a core by the names of threads, numbers in them left out. */
function byThread(before, after, seconds) {
  const sums = new Map();
  for (const [task, { name, cpu }] of after) {
    const kind = name.replace(/\d.*/, "");
    sums.set(kind, (sums.get(kind) ?? 0) + (1000 * (cpu - (before.get(task)?.cpu ?? 0))) / seconds);
  }
  return sums;
}

function threads(root) {
  const all = [];
  for (const pid of tree(root).keys()) {
    try {
      all.push(...usage(pid).threads);
    } catch {
      // It ended between two looks.
    }
  }
  return new Map(all);
}

/** The share of each library, from what perf wrote. */
function byLibrary(file, cores) {
  const words = ["report", "-i", file, "--no-children", "-g", "none", "--sort", "dso", "--stdio"];
  const { stdout } = spawnSync("perf", words, { encoding: "utf8", maxBuffer: 1 << 26 });
  const rows = [...stdout.matchAll(/^\s*([\d.]+)%\s+(\S+)/gm)];
  return new Map(rows.map(([, share, name]) => [name, Number(share) * 10 * cores]));
}

async function profile(door, phone) {
  const file = join(OUT, `perf-${door.name}.data`);
  const found = { door: door.name };
  await call(door, phone, async () => {
    await pause(SETTLE_MS);
    const [before, meter] = [threads(door.root), new Meter(door.root)];
    await pause(WINDOW_S * 1000);
    found.threads = byThread(before, threads(door.root), WINDOW_S);
    found.cores = meter.stop().cpu;
    if (!has("perf")) return;
    // Not while CPU is counted: perf itself costs some.
    const words = ["record", "-F", LOOKS, "-o", file, "-p", [...tree(door.root).keys()].join(","), "--", "sleep", String(WINDOW_S)];
    await new Promise((resolve) => spawn("perf", words, { stdio: "ignore" }).once("exit", resolve));
    found.libraries = byLibrary(file, found.cores);
  });
  return found;
}

const rows = (sums) => [...sums].sort(([, a], [, b]) => b - a).filter(([, value]) => value >= 0.5).map(([name, value]) => `| ${name} | ${value.toFixed(1)} |`);

const stage = await Stage.open();
const text = [];
try {
  const makers = stage.makers((process.env.BENCH_DOORS ?? "intercomd,webrtcbin").split(","));
  const doors = await stage.start(makers);
  const phone = await stage.house.phone({ talk: "answer", clock: "1" });
  // Once for nothing: each program loads what it needs.
  for (const door of doors) await call(door, phone);
  for (const door of doors) {
    const { cores, threads, libraries } = await profile(door, phone);
    text.push(`## ${door.name}: ${cores.toFixed(3)} cores`, "", "| thread | thousandths of a core |", "|--|--:|", ...rows(threads), "");
    if (libraries) text.push("| library | thousandths of a core |", "|--|--:|", ...rows(libraries), "");
  }
} finally {
  await stage.close();
}
if (!has("perf")) text.push("Without perf (Debian: linux-perf) nothing is known of the libraries.");
mkdirSync(OUT, { recursive: true });
writeFileSync(join(OUT, "profile.md"), `${text.join("\n")}\n`);
console.log(text.join("\n"));
