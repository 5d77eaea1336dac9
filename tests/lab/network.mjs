// The network of one test file: a namespace with a wire into the guest. The phone lives in it. Nothing leads out.

import { remove, sh, sweep } from "../net/namespaces.mjs";

const PREFIX = "icl";
/** The guest's address; it gives it to itself. */
export const GUEST_ADDRESS = "10.77.0.2";
const PHONE_ADDRESS = "10.77.0.1/24";
export const WIRE = "tap0";

export class Network {
  /** Needs root. Removes what killed runs left behind. */
  static make() {
    sweep(PREFIX);
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
