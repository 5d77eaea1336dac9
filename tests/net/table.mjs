// Writes the rows measured last into the table of docs/recovery.md.

import { readFileSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { readResults } from "./results.mjs";

const PAGE = resolve(dirname(fileURLToPath(import.meta.url)), "../../docs/recovery.md");
const [BEGIN, END] = ["<!-- table: made by tests/net/table.mjs -->", "<!-- end of table -->"];
const GROUPS = ["NAT", "Signalling", "Media", "Random"];
const SENSES = ["phonePicture", "phoneSound", "doorPicture", "doorSound"];

const rows = readResults();
const parts = [BEGIN, `\nMeasured by \`make test-net\`, ${newest(rows)}. Milliseconds.\n`];
for (const group of GROUPS) {
  const own = rows.filter((row) => row.group === group).sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }) || one.role.localeCompare(other.role));
  if (!own.length) continue;
  parts.push(`### ${group}`, "| row | door is | phone's picture | phone's sound | door's picture | door's sound |", "|---|---|---|---|---|---|");
  for (const { name, role, times, failed } of own) {
    const cells = failed ? [`**failed**: ${failed.split("\n")[0].replaceAll("|", "/")}`, "", "", ""] : SENSES.map((sense) => times[sense] ?? "");
    parts.push(`| ${name}${times?.notSent ? " (not sent in this role)" : ""} | ${role} | ${cells.join(" | ")} |`);
  }
  parts.push("");
}
parts.push(END);

const page = readFileSync(PAGE, "utf8");
const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
if (from < 0 || to < 0) throw new Error(`${PAGE} has lost the marks of its table`);
writeFileSync(PAGE, page.slice(0, from) + parts.join("\n") + page.slice(to + END.length));

function newest(rows) {
  return rows.map(({ at }) => at).sort().at(-1)?.slice(0, 10) ?? "never";
}
