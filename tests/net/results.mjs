// What the rows measured, kept in a file from which `table.mjs` makes the table of docs/recovery.md.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const RESULTS = resolve(dirname(fileURLToPath(import.meta.url)), "../../target/net-results.json");

/** All rows measured so far. */
export function readResults() {
  try {
    return JSON.parse(readFileSync(RESULTS, "utf8"));
  } catch {
    return [];
  }
}

/** Adds a row; a newer one of the same name and role takes the place of the older. */
export function record(entry) {
  const rows = readResults().filter(({ name, role }) => name !== entry.name || role !== entry.role);
  rows.push({ ...entry, at: new Date().toISOString() });
  mkdirSync(dirname(RESULTS), { recursive: true });
  writeFileSync(RESULTS, `${JSON.stringify(rows, null, 1)}\n`);
}
