// The network of one test file: a namespace with a wire into the guest. The phone lives in it. Nothing leads out.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

const PREFIX = "icl";
/** The guest's address; it gives it to itself. */
export const GUEST_ADDRESS = "10.77.0.2";
const PHONE_ADDRESS = "10.77.0.1/24";
export const WIRE = "tap0";

export class Network {
  /** Needs root. Removes what killed runs left behind. */
  static make() {
    sweep();
    const network = new Network();
    network.name = `${PREFIX}${process.pid}-phone`;
    try {
      sh("ip", "netns", "add", network.name);
      const inside = (...words) => sh("ip", "-n", network.name, ...words);
      inside("link", "set", "lo", "up");
      inside("tuntap", "add", WIRE, "mode", "tap");
      inside("address", "add", PHONE_ADDRESS, "dev", WIRE);
      inside("link", "set", WIRE, "up");
    } catch (error) {
      network.destroy();
      throw error;
    }
    return network;
  }

  /** The words before a command that make it run in here. */
  get inside() {
    return ["ip", "netns", "exec", this.name];
  }

  destroy() {
    remove(this.name);
  }
}

function sweep() {
  for (const line of sh("ip", "netns", "list").split("\n")) {
    const found = new RegExp(`^(${PREFIX}(\\d+)-\\w+)`).exec(line);
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
function remove(name) {
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

function sh(program, ...words) {
  return execFileSync(program, words, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 10_000 });
}
