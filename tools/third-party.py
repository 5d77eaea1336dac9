#!/usr/bin/env python3
"""Lists the crates that are linked into intercomd with their licences, and prints each licence's text once.

    cargo metadata --locked --format-version 1 --filter-platform TARGET | tools/third-party.py >THIRD-PARTY.md

Ends with 1 and a line for each crate whose licence is not on the list of deny.toml. What only builds or tests intercomd is
left out: nothing of it is in the program.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

# One list for both: what `make deny` would refuse is not packed either.
with open(Path(__file__).resolve().parent.parent / "deny.toml", "rb") as rules:
    ALLOWED = set(tomllib.load(rules)["licenses"]["allow"])
TEXTS = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)


def acceptable(expression):
    """Whether every part that has to be kept, or one of each choice, is on the list."""
    expression = expression.replace("/", " OR ").replace("(", "").replace(")", "")
    parts = [[one.strip() for one in part.split(" OR ")] for part in expression.split(" AND ")]
    return all(any(one in ALLOWED for one in choice) for choice in parts)


def linked(metadata):
    """Ids of the packages that are linked into the program, itself apart."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    packages = {package["id"]: package for package in metadata["packages"]}
    found, open_ids = set(), [root]
    while open_ids:
        for dependency in nodes[open_ids.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            macro = any("proc-macro" in target["kind"] for target in packages[dependency["pkg"]]["targets"])
            if normal and not macro and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                open_ids.append(dependency["pkg"])
    return sorted((packages[one] for one in found), key=lambda one: (one["name"], one["version"]))


def texts(package):
    """The licence files of a package."""
    folder = Path(package["manifest_path"]).parent
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and TEXTS.match(file.name)]
    return [file.read_text(encoding="utf-8", errors="replace").strip().replace("\r\n", "\n") for file in files]


def main():
    """Reads the metadata, writes the page."""
    crates = linked(json.load(sys.stdin))
    faults = [f"{one['name']} {one['version']}: {one['license']}" for one in crates
              if not acceptable(one["license"] or "none")]
    if faults:
        sys.exit("third-party: licences that nobody has agreed to yet:\n" + "\n".join(faults))
    users = {}
    print("# What others wrote\n\nLinked into `intercomd`:\n\n| crate | version | licence |\n|--|--|--|")
    for one in crates:
        print(f"| {one['name']} | {one['version']} | {one['license'].replace('/', ' OR ')} |")
        for text in texts(one):
            users.setdefault(text, []).append(one["name"])
    print("\nServed by it: the SDK `@metered-ca/realtime`, MIT; its licence lies beside it in `web/vendor/`.")
    for text, names in users.items():
        print(f"\n## {', '.join(dict.fromkeys(names))}\n\n```\n{text}\n```")


if __name__ == "__main__":
    main()
