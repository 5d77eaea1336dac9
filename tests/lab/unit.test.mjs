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

    step("lists camera, card, GPIO lines and screen by names that stay", { skip: "intercomd devices is not there yet" }, async ({ guest }) => {
      const found = JSON.parse(await guest.say("intercomd devices --json"));
      const camera = found.cameras.find(({ links }) => links.includes(CAMERA));
      assert.equal(camera.driver, "vivid");
      assert.ok(camera.formats.some(({ fourcc, sizes }) => fourcc === "YUYV" && sizes.length > 0), JSON.stringify(camera.formats));
      const card = found.sound_cards.find(({ id }) => id === "panel");
      assert.deepEqual([card.records, card.plays], [true, true]);
      const chip = found.gpio_chips.find(({ label }) => label === "pinctrl-bcm2711");
      for (const name of ["GPIO17", "GPIO22", "GPIO23", "GPIO27"]) assert.ok(chip.lines.some((line) => line.name === name), name);
      assert.ok(found.screens.some(({ connector, connected }) => connector === "Virtual-1" && connected));
      assert.ok(found.encoders.some((encoder) => (encoder.name ?? encoder) === "x264enc"));
    });

    step("rang once for a finger that stays, and reports the button", { timeout: STUCK_MS + 60_000 }, async ({ door, world }) => {
      const status = await door.until(({ panel }) => /stuck/.test(panel.button), "a stuck button", STUCK_MS);
      assert.equal(status.counters.calls, 1);
      await world.letGo();
      await door.until(({ panel }) => !/stuck/.test(panel.button), "a button that works");
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
      await guest.run(`sed -i 's,^source = "${CAMERA}",source = "auto",' /etc/intercomd/board/lab.toml`);
      await door.start();
      await world.press();
      const { media } = await door.until((status) => status.media.capture === "running", "a camera that runs");
      assert.match(media.camera, /vivid/);
      assert.ok(media.camera.includes(node), media.camera);
    });
  },
);
