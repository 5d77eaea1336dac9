// The table of docs/faults.md as tests: runs every test that its cells name, and says of each row whether it holds.
//   node tools/faults.mjs [--without lab] [--without net]
// The suites run as `make test`, `make test-net` and `make test-lab` run them; this only chooses. Closes with a line
// `N passed, N failed`, which counts rows; a row without a test is neither.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const left = process.argv.flatMap((word, n, words) => (words[n - 1] === "--without" ? [word] : []));
const LONGEST_MS = 3_600_000;

/** @typedef {{kind: "rust"|"browser"|"net"|"lab", file: string, name: string}} Test */

/** The rows of the table, with their tests. */
function rows() {
  const found = [];
  let part = "";
  for (const line of readFileSync(join(ROOT, "docs/faults.md"), "utf8").split("\n")) {
    if (line.startsWith("## ")) part = line.slice(3);
    if (!line.startsWith("|") || line.startsWith("|--") || line.startsWith("| when |")) continue;
    const cells = line.split("|").slice(1, -1).map((cell) => cell.trim());
    const shown = cells.at(-1);
    const files = [...shown.matchAll(/`(\w+)\/([\w-]+\.test\.mjs)`: "([^"]+)"/g)].map(([, kind, file, name]) => ({ kind, file, name }));
    // As tests/tidy.rs knows them: five words and more.
    const names = [...shown.matchAll(/`([a-z0-9]+(?:_[a-z0-9]+){4,})`/g)].map(([, name]) => ({ kind: "rust", file: "", name }));
    found.push({ part, when: cells[0], tests: [...files, ...names], gap: /\*\*no test\*\*/.test(shown) });
  }
  return found;
}

const key = ({ kind, file, name }) => `${kind} ${file} ${name}`;
/** What each test came to. */
const verdicts = new Map();

function run(program, words, { cwd = ROOT, env = {} } = {}) {
  console.log(`== ${program} ${words.join(" ").slice(0, 100)}`);
  const { stdout, stderr } = spawnSync(program, words, { cwd, env: { ...process.env, ...env }, encoding: "utf8", timeout: LONGEST_MS, maxBuffer: 1 << 28 });
  return `${stdout}\n${stderr}`;
}

function rust(tests) {
  // A name is looked for in all of them: no list of where each test lives has to be kept.
  const out = run("cargo", ["test", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests", "--", ...tests.map(({ name }) => name)]);
  for (const test of tests) {
    const lines = [...out.matchAll(/^test (\S+) \.\.\. (\w+)/gm)].filter(([, path]) => path === test.name || path.endsWith(`::${test.name}`));
    const ran = lines.map(([, , word]) => word).filter((word) => word !== "ignored");
    verdicts.set(key(test), ran.length === 0 ? "did not run" : ran.every((word) => word === "ok") ? "ok" : "failed");
  }
  if (!/^test result/m.test(out)) console.log(out.slice(-2000));
}

/** Reads TAP; a name with `${…}` stands for all tests it makes. */
function tap(out, tests) {
  const told = [...out.matchAll(/^ *(not ok|ok) \d+ - (.*?)(?: # (SKIP|TODO).*)?$/gm)];
  for (const test of tests) {
    const pattern = new RegExp(`^${test.name.split(/\$\{[^}]*\}/).map((text) => text.replace(/[.*+?^$()|[\]\\{}]/g, "\\$&")).join(".*")}`);
    const ran = told.filter(([, , name, later]) => pattern.test(name.replaceAll("\\#", "#")) && later !== "SKIP");
    verdicts.set(key(test), ran.length === 0 ? "did not run" : ran.every(([, word]) => word === "ok") ? "ok" : "failed");
  }
}

function browser(tests) {
  const files = [...new Set(tests.map(({ file }) => file))];
  const names = tests.map(({ name }) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
  tap(run("node", ["--test", "--test-concurrency=1", "--test-reporter=tap", `--test-name-pattern=${names}`, ...files], { cwd: join(ROOT, "tests/browser") }), tests);
}

function net(tests) {
  const files = [...new Set(tests.map(({ file }) => file))];
  const names = tests.map(({ name }) => name.split(/\$\{[^}]*\}/).map((text) => text.replace(/[.*+?^$()|[\]\\{}]/g, "\\$&")).join(".*")).join("|");
  tap(run("node", ["--test", "--test-concurrency=1", "--test-reporter=tap", ...files], { cwd: join(ROOT, "tests/net"), env: { NET_ROW: names } }), tests);
}

function lab(tests) {
  const files = [...new Set(tests.map(({ file }) => file))];
  const out = run(join(ROOT, "tools/test-lab.sh"), files);
  tap(out, tests);
}

const table = rows();
const all = [...new Map(table.flatMap(({ tests }) => tests).map((test) => [key(test), test])).values()];
for (const [kind, suite] of Object.entries({ rust, browser, net, lab })) {
  const tests = all.filter((test) => test.kind === kind);
  if (left.includes(kind)) tests.forEach((test) => verdicts.set(key(test), "left out"));
  else if (tests.length > 0) suite(tests);
}

let [passed, failed, gaps] = [0, 0, 0];
for (const { part, when, tests, gap } of table) {
  const bad = tests.filter((test) => ["failed", "did not run"].includes(verdicts.get(key(test))));
  const word = bad.length > 0 ? "FAILED" : tests.length === 0 ? "no test" : tests.some((test) => verdicts.get(key(test)) === "left out") ? "left out" : gap ? "ok, in part" : "ok";
  if (bad.length > 0) failed += 1;
  else if (tests.length > 0) passed += 1;
  if (gap) gaps += 1;
  console.log(`${word.padEnd(12)} ${part}: ${when}`);
  for (const test of bad) console.log(`             ${verdicts.get(key(test))}: ${key(test)}`);
}
console.log(`${gaps} cells without a test, ${all.length} tests\n${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
