// What the daemon uses at a moment between two calls.

import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { until } from "../browser/wait.mjs";

const mib = (text, name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? NaN) / 1024;

/** Number and bytes of the files in this folder and below. */
function files(folder) {
  let [count, bytes] = [0, 0];
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    const size = entry.isFile() ? statSync(join(entry.parentPath ?? entry.path, entry.name), { throwIfNoEntry: false })?.size : undefined;
    // What is written anew has another name for a moment.
    if (size === undefined || entry.name.startsWith(".")) continue;
    count += 1;
    bytes += size;
  }
  return { count, bytes };
}

/** The name of the runtime's threads: its workers, of which there are always as many, and its pool for what blocks. */
const POOL = "tokio-rt-worker";

function ownThreads(pid) {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).filter((task) => {
    try {
      return readFileSync(join(tasks, task, "comm"), "utf8").trim() !== POOL;
    } catch {
      // It ended meanwhile.
      return false;
    }
  }).length;
}

/** @param {import("../browser/door.mjs").Door} door @param {number} calls how many it has had */
export function sample(door, calls) {
  const rollup = readFileSync(`/proc/${door.pid}/smaps_rollup`, "utf8");
  const { threads, descriptors } = door.usage();
  const { count, bytes } = files(door.folder);
  return {
    calls, ownThreads: ownThreads(door.pid), threads, descriptors, pss: mib(rollup, "Pss"), rss: mib(rollup, "Rss"), anonymous: mib(rollup, "Anonymous"),
    files: count, fileBytes: bytes, logLines: door.logLines,
  };
}

const SETTLED_MS = 30_000;
/** Looks in a row, a tenth of a second apart, that see the same: threads of a call end within three seconds of it. */
const SAME = 15;

/** A sample once threads and descriptors no longer change, or after the deadline, whatever they are: the judge has them. */
export async function settledSample(door, calls) {
  let last = null;
  let same = 0;
  const look = () => {
    const { threads, descriptors } = door.usage();
    const seen = `${threads} ${descriptors}`;
    same = seen === last ? same + 1 : 0;
    last = seen;
    return same >= SAME;
  };
  await until(look, "rest", SETTLED_MS).catch(() => {});
  return sample(door, calls);
}
