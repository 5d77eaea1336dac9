// Network namespaces of the tests: made by root, named after the process that made them, removed with what runs in them.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Removes what runs that died left behind: namespaces called the prefix, a process number and more. */
export function sweep(prefix) {
  for (const line of sh("ip", "netns", "list").split("\n")) {
    const found = new RegExp(`^(${prefix}(\\d+)-\\w+)`).exec(line);
    if (found && !alive(Number(found[2]))) remove(found[1]);
  }
}

function alive(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("node");
  } catch {
    return false;
  }
}

/** Removes a namespace of ours with whatever still runs in it. */
export function remove(name) {
  try {
    for (const pid of sh("ip", "netns", "pids", name).split("\n").filter(Boolean)) {
      try {
        process.kill(Number(pid), "SIGKILL");
      } catch {
        continue;
      }
    }
    sh("ip", "netns", "delete", name);
  } catch {
    // It is not there.
  }
}

/** Runs a program to its end and gives what it printed. */
export function sh(program, ...words) {
  return execFileSync(program, words, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 10_000 });
}
