// The short form of the soak. In a process of its own: it has a library of others in it, and may not take the tests along.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const TEST_MS = 300_000;
/** So many calls, or as many as this machine has in the time. */
const SHORT = { SOAK_PARTS: "light", SOAK_SHORT: "1", SOAK_CALLS: "200", SOAK_MINUTES: "1.2" };

test("calls with random ends leave threads, descriptors, memory and files as they were", { timeout: TEST_MS }, async (t) => {
  const env = { ...process.env, SOAK_OUT: join(HERE, "../../target/soak-short"), ...SHORT };
  const soak = spawn(process.execPath, [join(HERE, "run.mjs")], { env, stdio: ["ignore", "pipe", "pipe"], signal: t.signal });
  const lines = [];
  let complaints = "";
  soak.stderr.on("data", (data) => (complaints += data));
  createInterface({ input: soak.stdout }).on("line", (line) => {
    lines.push(line);
    t.diagnostic(line.slice(0, 1_000));
  });
  const [code, signal] = await once(soak, "close");
  const wrong = lines.filter((line) => line.startsWith("NOT OK"));
  assert.equal(code, 0, `it ended with ${code ?? signal}\n${[lines[0], ...wrong, complaints, lines.at(-1)].join("\n").slice(-6_000)}`);
});
