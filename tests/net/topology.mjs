// The networks of the fault lab, made of network namespaces: the wide area with the services, a router before
// the door and one before the phone, and the two themselves. Needs root. Nothing leaves the machine: no
// namespace has a way out.
//
//   door --- doornat ---+
//                      wan (services)
//   phone --- phonenat -+

import { execFileSync, spawn } from "node:child_process";
import { remove, sh, sweep } from "./namespaces.mjs";

const PREFIX = "icn";
const PLACES = ["wan", "doornat", "door", "phonenat", "phone"];

/** Addresses of the services in the wide area. */
export const SERVICE = { v4: "203.0.113.10", v6: "2001:db8::10" };

/** One house: its router's outer and inner address, its own address, and a second subnet to move to. */
const HOUSES = {
  door: {
    outer: { v4: "203.0.113.20", v6: "2001:db8::20" },
    inner: { v4: "192.168.7", v6: "2001:db8:7" },
    moved: { v4: "192.168.8", v6: "2001:db8:8" },
  },
  phone: {
    outer: { v4: "203.0.113.30", v6: "2001:db8::30" },
    inner: { v4: "10.9.0", v6: "2001:db8:9" },
    moved: { v4: "10.9.1", v6: "2001:db8:a" },
  },
};

/** What stands between a house and the wide area. */
export const ROUTERS = ["routed", "full-cone", "port-restricted", "symmetric", "no-udp", "only-443"];

/** TCP port of the signalling service in the wide area; `only-443` lets it and 443 pass. */
export const SIGNALLING_PORT = 18080;

export class Topology {
  #name;
  #family;
  #rooms = new Map();

  /**
   * @param {{door: string, phone: string, family?: "v4" | "v6"}} kinds of the two routers, see `ROUTERS`;
   *   with `v6` the houses have no IPv4 but on their loopback interfaces, and no NAT; the services have both
   */
  static make({ door, phone, family = "v4" }) {
    sweep(PREFIX);
    const net = new Topology();
    net.#name = `${PREFIX}${process.pid}`;
    net.#family = family;
    try {
      net.#wire();
      net.#route("door", door);
      net.#route("phone", phone);
    } catch (error) {
      net.destroy();
      throw error;
    }
    return net;
  }

  get family() {
    return this.#family;
  }

  /** Address of the services, fit for a URL. */
  get service() {
    return this.#family === "v6" ? `[${SERVICE.v6}]` : SERVICE.v4;
  }

  /** The same, bare. */
  get serviceAddress() {
    return SERVICE[this.#family];
  }

  /** Address of a house's router in the house, wherever in it the house's own address is. */
  router(house) {
    return this.#member(HOUSES[house].inner, 1);
  }

  /** The words before a command that make it run in a place. */
  inside(place) {
    if (!PLACES.includes(place)) throw new Error(`there is no place ${place}`);
    return ["ip", "netns", "exec", this.namespace(place)];
  }

  namespace(place) {
    return `${this.#name}-${place}`;
  }

  /** Runs a program in a place to its end and gives what it printed. */
  run(place, ...words) {
    const [program, ...rest] = [...this.inside(place), ...words];
    return execFileSync(program, rest, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 10_000 });
  }

  /** Starts a program in a place. */
  start(place, words, options) {
    const [program, ...rest] = [...this.inside(place), ...words];
    return spawn(program, rest, options);
  }

  /** Loads nft rules in a place. */
  nft(place, rules) {
    const [program, ...rest] = [...this.inside(place), "nft", "-f", "-"];
    execFileSync(program, rest, { input: rules, timeout: 10_000, stdio: ["pipe", "pipe", "pipe"] });
  }

  #wire() {
    for (const place of PLACES) {
      sh("ip", "netns", "add", this.namespace(place));
      this.run(place, "ip", "link", "set", "lo", "up");
    }
    const wan = this.namespace("wan");
    this.run("wan", "ip", "link", "add", "hub", "type", "bridge");
    for (const house of ["door", "phone"]) {
      const [router, home] = [this.namespace(`${house}nat`), this.namespace(house)];
      sh("ip", "-n", router, "link", "add", "out", "type", "veth", "peer", "name", `to-${house}`, "netns", wan);
      sh("ip", "-n", router, "link", "add", "in", "type", "veth", "peer", "name", "eth0", "netns", home);
      this.run("wan", "ip", "link", "set", `to-${house}`, "master", "hub");
      this.run("wan", "ip", "link", "set", `to-${house}`, "up");
      this.#forwards(`${house}nat`);
      for (const link of ["out", "in"]) this.run(`${house}nat`, "ip", "link", "set", link, "up");
      this.run(house, "ip", "link", "set", "eth0", "up");
      const { outer, inner, moved } = HOUSES[house];
      this.#address(`${house}nat`, "out", outer[this.#family]);
      for (const net of [inner, moved]) this.#address(`${house}nat`, "in", this.#member(net, 1));
      this.#settle(house, inner);
    }
    this.run("wan", "ip", "link", "set", "hub", "up");
    this.#address("wan", "hub", SERVICE[this.#family]);
    if (this.#family === "v6") this.run("wan", "ip", "address", "add", `${SERVICE.v4}/32`, "dev", "hub");
    this.#void();
  }

  /** What is sent to nowhere, such as a house's private address, vanishes without an error, as in the world. */
  #void() {
    const family = this.#family === "v6" ? "-6" : "-4";
    this.run("wan", "ip", "link", "add", "void", "type", "bridge");
    this.run("wan", "ip", "link", "set", "void", "up", "arp", "off");
    this.run("wan", "ip", family, "route", "add", "default", "dev", "void");
    for (const house of ["door", "phone"]) {
      this.run(`${house}nat`, "ip", family, "route", "add", "default", "via", SERVICE[this.#family]);
    }
  }

  #forwards(place) {
    const what = this.#family === "v6" ? "net.ipv6.conf.all.forwarding=1" : "net.ipv4.ip_forward=1";
    this.run(place, "sysctl", "-qw", what);
  }

  /** Member `n` of a network. */
  #member(net, n) {
    return this.#family === "v6" ? `${net.v6}::${n}` : `${net.v4}.${n}`;
  }

  #address(place, link, address) {
    const words = this.#family === "v6" ? [`${address}/64`, "dev", link, "nodad"] : [`${address}/24`, "dev", link];
    this.run(place, "ip", "address", "add", ...words);
  }

  /** Gives a house its address and the way out. */
  #settle(house, net) {
    this.#address(house, "eth0", this.#member(net, 2));
    this.run(house, "ip", this.#family === "v6" ? "-6" : "-4", "route", "replace", "default", "via", this.#member(net, 1));
  }

  /** The way back to a house: only where no NAT hides it. */
  #wayBack(house) {
    const { outer, inner, moved } = HOUSES[house];
    const others = ["wan", house === "door" ? "phonenat" : "doornat"];
    for (const net of [inner, moved]) {
      const range = this.#family === "v6" ? `${net.v6}::/64` : `${net.v4}.0/24`;
      for (const place of others) this.run(place, "ip", "route", "replace", range, "via", outer[this.#family]);
    }
  }

  #route(house, kind) {
    if (!ROUTERS.includes(kind)) throw new Error(`no router is of the kind ${kind}`);
    const home = this.#member(HOUSES[house].inner, 2);
    if (this.#family === "v6" || kind === "routed") this.#wayBack(house);
    const nat = {
      "full-cone": [`chain pre { type nat hook prerouting priority dstnat; iif "out" udp dport 1024-65535 dnat to ${home}; }`, 'chain post { type nat hook postrouting priority srcnat; oif "out" masquerade; }'],
      "port-restricted": ['chain post { type nat hook postrouting priority srcnat; oif "out" masquerade; }'],
      symmetric: ['chain post { type nat hook postrouting priority srcnat; oif "out" masquerade fully-random; }'],
    };
    const pass = {
      "no-udp": ["meta l4proto udp drop"],
      "only-443": [`iif "in" tcp dport { 443, ${SIGNALLING_PORT} } accept`, 'iif "in" drop'],
    };
    const known = kind === "routed" ? [] : ["ct state established,related accept", ...(kind === "full-cone" ? ["ct status dnat accept"] : []), 'iif "out" drop'];
    // What nobody asked for is dropped before it is tracked for good: an entry of its own would take the
    // very port a house is about to use towards that sender.
    const rules = [
      "table inet gate {",
      "  chain forward { type filter hook forward priority 0; policy accept;",
      ...(pass[kind === "only-443" ? "none" : kind] ?? []),
      ...(kind === "only-443" ? ["ct state established,related accept", ...pass[kind]] : []),
      ...known,
      "  }",
      "  chain input { type filter hook input priority 0; policy accept;",
      // The wire of signalling ends in the router.
      '    iif "out" ct state established,related accept',
      '    iif "out" meta l4proto { tcp, udp } drop',
      "  }",
      "}",
    ];
    if (this.#family === "v4" && kind !== "routed") rules.push("table ip house {", ...(nat[kind] ?? nat["port-restricted"]), "}");
    this.nft(`${house}nat`, `${rules.join("\n")}\n`);
  }

  /**
   * Drops UDP at a house's router.
   *
   * @param {"door" | "phone"} house
   * @param {"in" | "out" | "both"} way seen from the house
   * @param {number} percent of the datagrams
   */
  dropUdp(house, way = "both", percent = 100) {
    const chance = percent >= 100 ? "" : `numgen random mod 100 < ${percent} `;
    const rules = [];
    if (way !== "in") rules.push(`iif "in" meta l4proto udp ${chance}drop`);
    if (way !== "out") rules.push(`oif "in" meta l4proto udp ${chance}drop`);
    this.#fault(house, rules);
  }

  /** Drops all DTLS records at a house's router; what ICE and media send passes. */
  dropKeys(house) {
    this.#fault(house, ["meta l4proto udp @th,64,8 { 20-23 } drop"]);
  }

  #fault(house, rules) {
    this.nft(`${house}nat`, `table inet fault\ndelete table inet fault\ntable inet fault {\nchain forward {\ntype filter hook forward priority -10\n${rules.join("\n")}\n}\n}\n`);
  }

  /** Ends what `dropUdp` or `dropKeys` began. */
  passUdp(house) {
    this.nft(`${house}nat`, "table inet fault\ndelete table inet fault\n");
  }

  /** Narrows a house's line to so many kbit/s in both directions; whole again without a number. */
  narrow(house, kbits) {
    for (const link of ["out", "in"]) {
      if (kbits) this.run(`${house}nat`, "tc", "qdisc", "replace", "dev", link, "root", "tbf", "rate", `${kbits}kbit`, "burst", "8kb", "latency", "300ms");
      else this.run(`${house}nat`, "tc", "qdisc", "del", "dev", link, "root");
    }
  }

  /** Moves a house to another subnet, as from Wi-Fi to a cable: the former address is gone at once. */
  move(house) {
    const { inner, moved } = HOUSES[house];
    const there = this.#rooms.get(house) ?? inner;
    const next = there === inner ? moved : inner;
    this.run(house, "ip", "address", "flush", "dev", "eth0", "scope", "global");
    this.#settle(house, next);
    this.#rooms.set(house, next);
  }

  /** Takes a house's line away, or gives it back. */
  plug(house, plugged) {
    if (plugged) {
      this.run(house, "ip", "link", "set", "eth0", "up");
      this.#settle(house, this.#rooms.get(house) ?? HOUSES[house].inner);
    } else {
      this.run(house, "ip", "address", "flush", "dev", "eth0", "scope", "global");
      this.run(house, "ip", "link", "set", "eth0", "down");
    }
  }

  destroy() {
    for (const place of PLACES) remove(this.namespace(place));
  }
}
