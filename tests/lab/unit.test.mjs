// The installed door under systemd, the devices it finds, and a finger that stays on the button all the while.

import assert from "node:assert/strict";
import { callState } from "../browser/door.mjs";
import { until } from "../browser/wait.mjs";
import { PATIENCE } from "./guest.mjs";
import { shared } from "./scene.mjs";
import { CAMERA } from "./world.mjs";

/** The daemon calls a button stuck when it has been held for over a minute. */
const STUCK_MS = 60_000 + 30_000 * PATIENCE;
const START_MS = 60_000 * PATIENCE;

async function devices(guest) {
  return JSON.parse(await guest.say("intercomd devices --json"));
}

shared(
  "the installed door",
  async (lab) => {
    await lab.install();
    await lab.world.hold();
  },
  (step) => {
    step("is active for systemd, by its own word", {}, async ({ door }) => {
      assert.equal(await door.unit("Type"), "notify");
      assert.equal(await door.unit("ActiveState"), "active");
      assert.equal(await door.unit("NRestarts"), "0");
      assert.notEqual(await door.unit("WatchdogTimestampMonotonic"), "0");
    });

    step("has a unit systemd finds nothing wrong with", {}, async ({ guest }) => {
      assert.equal(await guest.say("systemd-analyze verify --man=no intercomd.service"), "");
      await guest.run("systemd-analyze security --offline=true --threshold=16 /usr/lib/systemd/system/intercomd.service >/dev/null");
    });

    step("runs as a user of its own", {}, async ({ guest, door }) => {
      const pid = await door.unit("MainPID");
      assert.equal(await guest.say(`stat -c %U /proc/${pid}`), "intercomd");
    });

    step("lists camera, card, GPIO lines and screen by names that stay", {}, async ({ guest }) => {
      const { probe, gpio, choices } = await devices(guest);
      const camera = probe.cameras.find(({ links }) => links.includes(CAMERA));
      assert.equal(camera.driver, "vivid");
      const yuyv = camera.formats.find(({ fourcc }) => fourcc === "YUYV");
      const { rates } = yuyv.sizes.find(({ size }) => size === "640x360");
      for (const rate of ["10", "15", "25/2"]) assert.ok(rates.includes(rate), `${rate} of ${rates}`);
      const card = probe.sound_cards.find(({ id }) => id === "panel");
      assert.deepEqual([card.records, card.plays], [true, true]);
      const chip = gpio.find(({ label }) => label === "pinctrl-bcm2711");
      const holders = ["GPIO17", "GPIO22", "GPIO23", "GPIO27"].map((name) => chip.lines.find((line) => line.name === name).held_by);
      assert.ok(holders.every((holder) => /intercomd/.test(holder)), `the daemon holds its lines: ${holders}`);
      const screen = probe.screens.find(({ connector }) => connector === "Virtual-1");
      assert.match(screen.driver, /^virtio/);
      assert.equal(screen.connected, true);
      assert.deepEqual([choices.camera.state, choices.microphone.state], ["taken", "taken"]);
      assert.ok(choices.reasons.length > 0, "it says why");
    });

    step("rang once for a finger that stays, and reports the button", { timeout: STUCK_MS + 60_000 }, async ({ door, world }) => {
      const status = await door.until(({ panel }) => /stuck/.test(panel.button), "a stuck button", STUCK_MS);
      assert.equal(status.counters.calls, 1);
      assert.ok(status.faults.includes("button"), `${status.faults}`);
      await world.letGo();
      await door.until(({ panel, faults }) => !/stuck/.test(panel.button) && !faults.includes("button"), "a button that works");
      if (callState(await door.status()) !== "idle") await door.ctl("hangup");
      await door.untilIdle();
      await world.press();
      await door.until(({ counters }) => counters.calls === 2, "a second call");
    });

    step("when it hangs it is ended and started again by systemd", {}, async ({ guest, door }) => {
      await door.change("WatchdogSec=10s");
      await guest.run("systemctl restart intercomd", { ms: START_MS });
      const pid = await door.unit("MainPID");
      await guest.run(`kill -STOP ${pid}`);
      await until(async () => (await door.unit("NRestarts")) === "1", "a new start", START_MS, () => door.log());
      await door.until((status) => callState(status) === "idle", "ready again");
      assert.notEqual(await door.unit("MainPID"), pid);
      assert.match(await door.log(200), /watchdog/i);
    });

    step("takes no codec's node for a camera, though it comes first", {}, async ({ guest, door, world }) => {
      await door.stop();
      await world.unplugCamera();
      await guest.run("modprobe vicodec && udevadm settle");
      await world.plugCamera();
      const node = await guest.say(`readlink -f ${CAMERA}`);
      assert.notEqual(node, "/dev/video0");
      assert.match(await guest.say("gst-inspect-1.0 video4linux2"), /v4l2fwht(enc|dec)/, "GStreamer made an element of the codec");
      const kinds = (await devices(guest)).probe.video_nodes.filter(({ driver }) => driver === "vicodec").map(({ kind }) => kind);
      assert.ok(kinds.includes("encoder") && kinds.includes("decoder"), `${kinds}`);
      await guest.run(`sed -i 's,^source = "${CAMERA}",source = "auto",' /etc/intercomd/board/lab.toml`);
      await door.start();
      await world.press();
      const { media } = await door.until((status) => status.media.capture === "running", "a camera that runs");
      assert.match(media.camera, /vivid/);
      assert.ok(media.camera.includes(node), media.camera);
    });

    step("sends pictures through an encoder and a decoder of the kernel's", {}, async ({ guest, door }, t) => {
      await door.stop();
      const made = await guest.run("gst-inspect-1.0 --exists v4l2fwhtenc && gst-inspect-1.0 --exists v4l2fwhtdec", { fails: true });
      if (made.code !== 0) return t.skip("this GStreamer makes no elements of both");
      const { out } = await guest.run(
        "gst-launch-1.0 -v videotestsrc num-buffers=30 ! video/x-raw,width=640,height=360 ! v4l2fwhtenc ! v4l2fwhtdec ! fakesink silent=false",
      );
      // An end without pictures is a success for gst-launch, too.
      assert.match(out, /last-message = chain .*\(\d{5,} bytes/, "a whole picture came out");
    });
  },
);
