// Calls across routers of every kind.

import assert from "node:assert/strict";
import { row } from "./lab.mjs";

const group = "NAT";

row("no NAT at all", { group, door: "routed", phone: "routed" }, async (lab) => {
  const times = await lab.call();
  await lab.sound();
  assert.deepEqual([(await lab.path()).phone, (await lab.path()).door], ["host", "host"]);
  return times;
});
