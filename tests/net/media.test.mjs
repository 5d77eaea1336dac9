// What happens to a call when its media path fails while signalling stays: holes of every length, loss, a narrow
// line, a door that moves to another subnet, a phone's tab that sleeps.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { until } from "../browser/wait.mjs";
import { lasting, row, WHOLE_MS } from "./lab.mjs";

const group = "Media";
const servers = { doorServers: ["stun"], phoneServers: ["stun"] };
const home = { group, door: "port-restricted", phone: "port-restricted", ...servers };

/** A longer silence is no whole voice, whatever else the machine does. */
const VOICE_MS = 2_000;
/** The service takes 40 s to announce that a silent socket is gone; until then the door sees a ghost. */
const GHOST_MS = 60_000;

const ways = { both: "both ways", in: "to the door only", out: "from the door only" };
for (const seconds of [3, 10, 30, 90]) {
  for (const [way, said] of Object.entries(ways)) {
    row(`no UDP for ${seconds} s, ${said}`, { ...home, short: seconds === 10 && way === "both", ms: 200_000 }, async (lab) => {
      await lab.call();
      lab.net.dropUdp("door", way);
      await lasting(seconds * 1000);
      lab.net.passUdp("door");
      const times = await lab.flowing(Date.now(), WHOLE_MS);
      await lab.sound();
      return times;
    });
  }
}

row("no keys for the first link, as all it says of them is swallowed", home, async (lab) => {
  lab.net.dropKeys("door");
  await lab.join();
  await lab.door.press();
  await lab.door.until(({ counters }) => counters.link_rebuilds > 0, "a link that is built anew", 30_000);
  lab.net.passUdp("door");
  const whole = Date.now();
  const times = await lab.flowing(whole, WHOLE_MS);
  await lab.sound();
  return Object.fromEntries(Object.entries(times).map(([sense, at]) => [sense, at || lab.senses.first(sense, whole)]));
});

row("the door's address changes", { ...home, short: true }, async (lab) => {
  await lab.call();
  const since = Date.now();
  lab.net.move("door");
  const times = await lab.flowing(since, 2 * WHOLE_MS, () => stalledOrCalm(lab, since));
  await lab.sound();
  return times;
});

row("the door's address changes while it connects to the service again", home, async (lab) => {
  await lab.call();
  const since = Date.now();
  await lab.doorWire.reset();
  lab.net.move("door");
  const times = await lab.flowing(since, 2 * WHOLE_MS, () => stalledOrCalm(lab, since));
  await lab.sound();
  return times;
});

row("the door's line is pulled for 10 s", home, async (lab) => {
  await lab.call();
  lab.net.plug("door", false);
  await lasting(10_000);
  lab.net.plug("door", true);
  const times = await lab.flowing(Date.now(), 60_000);
  await lab.sound();
  return times;
});

row("the phone's address changes", { ...home, rules: 'linger = "60s"' }, async (lab) => {
  await lab.call();
  const since = Date.now();
  lab.net.move("phone");
  // A browser that notices a changed network closes its sockets; this one sees its loopback interface only.
  await lab.phoneWire.reset();
  const times = await lab.flowing(since, 2 * WHOLE_MS, () => stalledOrCalm(lab, since));
  await lab.sound(GHOST_MS);
  return times;
});

for (const percent of [1, 5, 10, 20]) {
  row(`${percent} % loss for 20 s`, home, async (lab) => {
    await lab.call();
    lab.net.dropUdp("door", "both", percent);
    const since = Date.now();
    await lasting(20_000);
    // The voice stays whole: no stall of it in all that time.
    const stalled = ["phoneSound", "doorSound"].filter((sense) => lab.senses.stalled(sense, since, VOICE_MS));
    lab.net.passUdp("door");
    const times = await lab.flowing(Date.now(), WHOLE_MS);
    await lab.sound();
    if (percent <= 10) assert.deepEqual(stalled, [], "the sound never stalled");
    return times;
  });
}

row("300 kbit/s for 20 s and back", home, async (lab) => {
  await lab.call();
  lab.net.narrow("door", 300);
  await lasting(20_000);
  // Audio goes first: it must be flowing on the narrow line.
  await until(() => lab.senses.flows("phoneSound") && lab.senses.flows("doorSound"), "sound both ways on the narrow line", WHOLE_MS, () => lab.tell());
  lab.net.narrow("door", null);
  const times = await lab.flowing(Date.now(), WHOLE_MS);
  await lab.sound();
  return times;
});

row("the phone's tab is frozen for 15 s", home, async (lab) => {
  await lab.call();
  const cdp = await lab.phone.context.newCDPSession(lab.phone.page);
  await cdp.send("Page.setWebLifecycleState", { state: "frozen" });
  await lasting(15_000);
  await cdp.send("Page.setWebLifecycleState", { state: "active" });
  const times = await lab.flowing(Date.now(), WHOLE_MS);
  await lab.sound();
  return times;
});

for (const seconds of [5, 30]) {
  row(`the phone's tab does not run for ${seconds} s`, { ...home, rules: 'linger = "60s"' }, async (lab) => {
    await lab.call();
    const tabs = renderers(lab);
    assert.ok(tabs.length > 0);
    for (const pid of tabs) process.kill(pid, "SIGSTOP");
    try {
      await lasting(seconds * 1000);
    } finally {
      for (const pid of tabs) process.kill(pid, "SIGCONT");
    }
    const times = await lab.flowing(Date.now(), 3 * WHOLE_MS);
    await lab.sound();
    return times;
  });
}

/** Something stalled since then and flows again, or nothing stalled for 20 s. */
function stalledOrCalm(lab, since) {
  return Date.now() - since > 20_000 || lab.senses.senses.some((sense) => lab.senses.stalled(sense, since));
}

/** The processes of the phone's browser that run pages. */
function renderers(lab) {
  const inside = new Set(lab.net.run("phone", "ip", "netns", "pids", lab.net.namespace("phone")).split("\n"));
  return readdirSync("/proc")
    .filter((pid) => inside.has(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer"))
    .map(Number);
}
