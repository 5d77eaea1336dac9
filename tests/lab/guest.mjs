// The virtual machine: QEMU without KVM, restored from a snapshot of a booted Debian. Commands go in through QEMU's
// guest agent, files through a shared folder, pictures of its screen come out through QEMU's monitor.

import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until, within } from "../browser/wait.mjs";
import { Lines } from "./lines.mjs";
import { Network, WIRE } from "./network.mjs";

const PROGRAM = "qemu-system-x86_64";
const FOLDER = "intercomd-lab-";
/** Everything takes that much longer on a machine that does other things too. */
export const PATIENCE = Number(process.env.LAB_PATIENCE ?? 3);
const BOOT_MS = 90_000 * PATIENCE;
const RESTORE_MS = 15_000 * PATIENCE;
const ANSWER_MS = 10_000 * PATIENCE;
const RUN_MS = 20_000 * PATIENCE;
const END_MS = 5_000;
/** Pauses between two looks at a command that runs, in milliseconds. */
const LOOKS_MS = [50, 100, 200, 400];
const SHARE = "/share";
const ENVIRONMENT = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME=/root", "LANG=C.UTF-8"];

export class Guest {
  #child;
  #monitor;
  #agent;
  #exited;
  #errors = "";
  #shots = 0;

  /**
   * A machine in the state of the snapshot, with the time of now.
   *
   * @param {Network} network where its wire ends
   */
  static async start(network) {
    const { folder, disk, ram } = snapshotPaths();
    if (!existsSync(folder)) await makeSnapshot();
    const guest = new Guest();
    try {
      await guest.#launch(network, `file=${disk},format=qcow2,snapshot=on`, ["-incoming", `exec:cat ${ram}`]);
      await until(async () => (await guest.#ask("query-status")).status !== "inmigrate", "the snapshot in the machine's memory", RESTORE_MS);
      await guest.#ask("cont");
      await guest.#greet(RESTORE_MS);
      await guest.run(`date -s @${Math.ceil(Date.now() / 1000)} && mkdir -p ${SHARE} && mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share ${SHARE}`);
    } catch (error) {
      await guest.stop();
      throw error;
    }
    return guest;
  }

  /** A machine that boots from the image; for making the snapshot. */
  static async boot(network, disk) {
    const guest = new Guest();
    try {
      await guest.#launch(network, `file=${disk},format=qcow2`, []);
      await guest.#greet(BOOT_MS);
    } catch (error) {
      error.message += `\nconsole: ${guest.console.slice(-3000)}`;
      await guest.stop();
      throw error;
    }
    return guest;
  }

  async #launch(network, drive, more) {
    sweep();
    this.folder = mkdtempSync(join(tmpdir(), `${FOLDER}${process.pid}-`));
    this.share = join(this.folder, "share");
    mkdirSync(this.share);
    const path = (name) => join(this.folder, name);
    const image = imageFolder();
    // Dies with this process, however that ends.
    const [program, ...words] = [...network.inside, "setpriv", "--pdeathsig", "KILL", PROGRAM];
    this.#child = spawn(
      program,
      [
        ...words,
        ...["-name", "intercomd-lab", "-nodefaults", "-no-reboot", "-display", "none"],
        ...["-accel", "tcg,thread=multi,tb-size=512", "-M", "q35", "-cpu", "Westmere", "-smp", "2", "-m", "1024"],
        ...["-kernel", join(image, "kernel"), "-initrd", join(image, "initrd"), "-append", kernelWords()],
        ...["-drive", `${drive},if=none,id=disk,cache=unsafe`, "-device", "virtio-blk-pci,drive=disk"],
        ...["-netdev", `tap,id=wire,ifname=${WIRE},script=no,downscript=no`, "-device", "virtio-net-pci,netdev=wire,romfile="],
        ...["-virtfs", `local,path=${this.share},mount_tag=share,security_model=none,multidevs=remap`],
        ...["-vga", "none", "-device", "virtio-vga,xres=640,yres=480", "-device", "virtio-rng-pci", "-device", "virtio-serial-pci"],
        ...["-chardev", `socket,id=agent,path=${path("agent")},server=on,wait=off`],
        ...["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"],
        ...["-serial", `file:${path("console")}`, "-qmp", `unix:${path("monitor")},server=on,wait=off`],
        ...more,
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    this.#child.stderr.on("data", (data) => (this.#errors += data));
    this.#exited = new Promise((resolve) => this.#child.on("exit", resolve));
    const died = this.#exited.then(() => {
      throw new Error(`QEMU ended: ${this.#errors}`);
    });
    died.catch(() => {});
    const talk = async () => {
      this.#monitor = await Lines.open(path("monitor"));
      await this.#ask("qmp_capabilities");
      this.#agent = await Lines.open(path("agent"));
    };
    await Promise.race([talk(), died]);
  }

  #ask(what, args, ms = ANSWER_MS) {
    return this.#monitor.ask(what, args, ms);
  }

  /** Waits until the agent inside listens. */
  #greet(ms) {
    return until(() => this.#agent.anew(2_000).then(() => true), "a word of the agent in the guest", ms, () => this.#errors);
  }

  get console() {
    return existsSync(join(this.folder, "console")) ? readFileSync(join(this.folder, "console"), "utf8") : "";
  }

  /**
   * Runs a shell script in the guest to its end.
   *
   * @param {string} script
   * @param {{ms?: number, fails?: boolean}} wishes `fails`: a code other than 0 is an answer, no error
   * @returns {Promise<{code: number, out: string}>} `out`: what it said, complaints included
   */
  async run(script, { ms = RUN_MS, fails = false } = {}) {
    const seconds = Math.ceil(ms / 1000);
    const { pid } = await this.#agent.ask(
      "guest-exec",
      { path: "/usr/bin/timeout", arg: ["-k", "2", String(seconds), "/bin/sh", "-c", `exec 2>&1\n${script}`], env: ENVIRONMENT, "capture-output": true },
      ANSWER_MS,
    );
    for (const deadline = performance.now() + ms + ANSWER_MS, looks = [...LOOKS_MS]; ; ) {
      const state = await this.#agent.ask("guest-exec-status", { pid }, ANSWER_MS);
      if (state.exited) {
        const out = Buffer.from(state["out-data"] ?? "", "base64").toString();
        const code = state.exitcode ?? 128 + state.signal;
        if (code !== 0 && !fails) throw new Error(`in the guest, code ${code}: ${script.slice(0, 300)}\n${out.slice(-3000)}`);
        return { code, out };
      }
      if (performance.now() > deadline) throw new Error(`in the guest, not done within ${ms} ms: ${script.slice(0, 300)}`);
      await new Promise((resolve) => setTimeout(resolve, looks.length > 1 ? looks.shift() : looks[0]));
    }
  }

  /** What a script says, without the newline at its end. */
  async say(script, wishes) {
    return (await this.run(script, wishes)).out.trimEnd();
  }

  /** Starts a script that goes on until `end(name)`, as a unit of systemd. */
  start(name, script) {
    return this.run(`systemd-run --quiet --collect --unit=lab-${name} /bin/sh -c ${quote(script)}`);
  }

  end(name) {
    return this.run(`systemctl stop lab-${name}`, { fails: true });
  }

  /** Waits until a script ends well; gives what it says. */
  until(script, what, ms = RUN_MS) {
    let last;
    return until(
      async () => {
        last = await this.run(script, { fails: true });
        return last.code === 0 && (last.out.trimEnd() || true);
      },
      `in the guest: ${what}`,
      ms,
      () => last,
    );
  }

  /** Puts a file of the host, or a text, into the shared folder; gives its path in the guest. */
  put(name, { file, text }) {
    const there = join(this.share, name);
    if (file) copyFileSync(file, there);
    else writeFileSync(there, text);
    return `${SHARE}/${name}`;
  }

  /** The path on the host of what the guest writes to `/share/NAME`. */
  hostPath(name) {
    return join(this.share, name);
  }

  /** What the screen shows: three bytes a pixel. */
  async screen() {
    this.#shots += 1;
    const file = join(this.folder, `screen${this.#shots}.ppm`);
    await this.#ask("screendump", { filename: file });
    const raw = readFileSync(file);
    rmSync(file);
    const head = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(raw.subarray(0, 40).toString("latin1"));
    return { width: Number(head[1]), height: Number(head[2]), rgb: raw.subarray(head[0].length) };
  }

  /** Writes memory to a file and ends the machine. */
  async save(ram) {
    await this.#ask("stop");
    await this.#ask("migrate-set-parameters", { "max-bandwidth": 8 * 2 ** 30 });
    await this.#ask("migrate", { uri: `exec:cat > ${ram}` });
    await until(
      async () => {
        const { status, "error-desc": why } = await this.#ask("query-migrate");
        if (status === "failed") throw new Error(why);
        return status === "completed";
      },
      "the machine's memory in a file",
      BOOT_MS,
    );
    await this.#ask("quit");
    await within(this.#exited, "QEMU's end", END_MS * PATIENCE);
  }

  async stop() {
    this.#child?.kill("SIGKILL");
    if (this.#exited) await within(this.#exited, "QEMU's end after SIGKILL", END_MS);
    this.#monitor?.close();
    this.#agent?.close();
    if (this.folder) rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Boots the image once and keeps the machine as it is when everything has settled. */
export async function makeSnapshot() {
  const { folder } = snapshotPaths();
  if (existsSync(folder)) return;
  const making = mkdtempSync(join(imageFolder(), "making-"));
  const network = Network.make();
  let guest;
  try {
    const disk = join(making, "disk.qcow2");
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", "-b", "../disk", "-F", "raw", disk]);
    guest = await Guest.boot(network, disk);
    await guest.until("systemctl is-active --quiet lab-world multi-user.target", "a booted system with its devices", BOOT_MS);
    // Looking through all plugins takes long: once for all tests.
    await guest.run("gst-inspect-1.0 >/dev/null; sync; echo 3 >/proc/sys/vm/drop_caches", { ms: BOOT_MS });
    await guest.save(join(making, "ram"));
    renameSync(making, folder);
  } finally {
    await guest?.stop();
    network.destroy();
    rmSync(making, { recursive: true, force: true });
  }
}

/** Removes the folders of runs that were killed. */
function sweep() {
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(FOLDER) && Number.parseInt(name.slice(FOLDER.length), 10);
    if (pid && !existsSync(`/proc/${pid}`)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

function imageFolder() {
  const folder = process.env.LAB_IMAGE;
  if (!folder) throw new Error("LAB_IMAGE is not set: start the tests by tools/test-lab.sh");
  return folder;
}

let megahertz;

/** Rate of this machine's time stamp counter. The guest's clock runs by it, and goes wrong when it measures by itself. */
function counterRate() {
  megahertz ??= Number(execFileSync(join(imageFolder(), "tsc"), { encoding: "utf8" }));
  return megahertz;
}

function kernelWords() {
  return `console=ttyS0 quiet systemd.show_status=0 panic=-1 net.ifnames=0 mitigations=off audit=0 nowatchdog rcupdate.rcu_expedited=1 tsc=reliable tsc_early_khz=${counterRate() * 1000}`;
}

/** A snapshot is good for one version of QEMU and one rate of the counter. */
function snapshotPaths() {
  const version = /version (\S+)/.exec(execFileSync(PROGRAM, ["--version"], { encoding: "utf8" }))[1];
  const folder = join(imageFolder(), `snapshot-${version}-${counterRate()}`);
  return { folder, disk: join(folder, "disk.qcow2"), ram: join(folder, "ram") };
}

export function quote(word) {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
