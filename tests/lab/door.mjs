// The door as its owner has it: installed in the guest the way systemd/README.md says, run by systemd.

import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { CHANNEL, WEB_DIR, callState, captureState } from "../browser/door.mjs";
import { Phone } from "../browser/phone.mjs";
import { until } from "../browser/wait.mjs";
import { PATIENCE } from "./guest.mjs";
import { GUEST_ADDRESS } from "./network.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, "../..");
const BIN = resolve(process.env.INTERCOMD_BIN ?? join(ROOT, "target/debug/intercomd"));
const UNITS = join(ROOT, "systemd");
const START_MS = 60_000 * PATIENCE;
const WAIT_MS = 20_000 * PATIENCE;
/** Pause between two looks at the status: each starts a program on a slow machine. */
const LOOK_MS = 700;
const PORT = 8443;

export class Door {
  constructor(guest) {
    this.guest = guest;
  }

  /**
   * Installs the daemon with its unit, accounts, folders, profile and page.
   *
   * @param {{more?: string, board?: (text: string) => string}} wishes `more`: further tables of the configuration;
   *   `board`: changes to the lab's profile
   */
  static async install(guest, { more = "", board = (text) => text } = {}) {
    if (!existsSync(BIN)) throw new Error(`${BIN} is missing: build it, or set INTERCOMD_BIN`);
    if (!existsSync(join(WEB_DIR, "index.html"))) execFileSync(process.execPath, [join(ROOT, "web/build.mjs")]);
    const share = guest.hostPath("install");
    mkdirSync(join(share, "board"), { recursive: true });
    execFileSync("strip", ["-o", join(share, "intercomd"), BIN]);
    chmodSync(join(share, "intercomd"), 0o755);
    cpSync(UNITS, join(share, "systemd"), { recursive: true });
    cpSync(WEB_DIR, join(share, "web"), { recursive: true });
    writeFileSync(join(share, "board/lab.toml"), board(readFileSync(join(HERE, "board.toml"), "utf8")));
    writeFileSync(join(share, "config.toml"), `channel = "${CHANNEL}"\nboard = "lab"\n${more}`);
    const rules = readdirSync(UNITS).filter((name) => name.endsWith(".rules"));
    await guest.run(
      `set -e; cd /share/install
      install -D -m 755 intercomd /usr/bin/intercomd
      install -D -m 644 systemd/intercomd.service /usr/lib/systemd/system/intercomd.service
      install -D -m 644 systemd/intercomd.sysusers /usr/lib/sysusers.d/intercomd.conf
      install -D -m 644 systemd/intercomd.tmpfiles /usr/lib/tmpfiles.d/intercomd.conf
      ${rules.map((name) => `install -D -m 644 systemd/${name} /usr/lib/udev/rules.d/${name}`).join("\n")}
      systemd-sysusers
      systemd-tmpfiles --create /usr/lib/tmpfiles.d/intercomd.conf
      install -m 644 config.toml /etc/intercomd/config.toml
      install -m 644 board/lab.toml /etc/intercomd/board/lab.toml
      mkdir -p /usr/share/intercomd && cp -rT web /usr/share/intercomd/web
      udevadm control --reload
      udevadm trigger --settle --subsystem-match=gpio
      # The plugins were looked through when the image was made; the daemon keeps a list of its own.
      install -d -o intercomd -g intercomd -m 755 /var/cache/intercomd /var/cache/intercomd/gstreamer-1.0
      install -o intercomd -g intercomd /root/.cache/gstreamer-1.0/*.bin /var/cache/intercomd/gstreamer-1.0/
      systemctl daemon-reload`,
      { ms: START_MS },
    );
    if (!rules.length) await guest.run("chgrp gpio /dev/gpiochip* && chmod 660 /dev/gpiochip*");
    return new Door(guest);
  }

  /** Starts the unit and waits until systemd calls it active. */
  async start() {
    try {
      await this.guest.run("systemctl start intercomd", { ms: START_MS });
    } catch (error) {
      throw new Error(`${error.message}\n${await this.log()}`);
    }
  }

  /** Sets something in the unit as its owner would, for the next start. */
  change(setting) {
    return this.guest.run(
      `mkdir -p /etc/systemd/system/intercomd.service.d
      printf '[Service]\\n%s\\n' '${setting}' >/etc/systemd/system/intercomd.service.d/lab.conf
      systemctl daemon-reload`,
    );
  }

  stop() {
    return this.guest.run("systemctl stop intercomd", { ms: WAIT_MS });
  }

  /** A property of the unit. */
  unit(property) {
    return this.guest.say(`systemctl show -p ${property} --value intercomd`);
  }

  log(lines = 60) {
    return this.guest.say(`journalctl -u intercomd -o cat --no-pager -n ${lines}`);
  }

  ctl(words, wishes) {
    return this.guest.run(`intercomd ctl ${words}`, wishes);
  }

  async status() {
    return JSON.parse(await this.guest.say("intercomd ctl status --json"));
  }

  /** Waits until the daemon's status satisfies `wanted`; gives that status. */
  until(wanted, what, ms = WAIT_MS) {
    let last = null;
    return until(
      async () => {
        last = await this.status();
        if (wanted(last)) return last;
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
        return null;
      },
      `the door: ${what}`,
      ms,
      async () => `${JSON.stringify(last)}\n${await this.log()}`,
    );
  }

  untilIdle() {
    return this.until((status) => callState(status) === "idle" && captureState(status) === "off", "idle with the camera off");
  }

  /** What an answer page is opened with. */
  async address() {
    const { address } = await this.status();
    const words = new URLSearchParams(new URL(address).hash.slice(1));
    return {
      link: `https://${GUEST_ADDRESS}:${PORT}/${new URL(address).hash}`,
      channel: words.get("channel"),
      key: words.get("key"),
      ws: `wss://${GUEST_ADDRESS}:${PORT}`,
    };
  }
}

/** A phone at the other end of the guest's wire. */
export async function openPhone(network, folder) {
  const program = join(folder, "browser");
  // The door's certificate is its own; a person accepts it once.
  const browser = process.env.CHROMIUM ?? "/usr/bin/chromium";
  writeFileSync(program, `#!/bin/sh\nexec ${network.inside.join(" ")} setpriv --pdeathsig KILL "${browser}" --ignore-certificate-errors "$@"\n`);
  chmodSync(program, 0o755);
  return Phone.open({ program });
}
