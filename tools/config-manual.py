#!/usr/bin/env python3
"""Makes the man page intercomd.toml(5) of docs/config.toml, so that there is one text about each setting.

    tools/config-manual.py docs/config.toml VERSION >intercomd.toml.5

What it relies on: a line "# text" explains the settings that follow it; "#key = value" is a setting at its default;
"[table]" and "#[table]" begin a table; settings shown inside a text ("# key = value") are examples.
"""

import re
import sys

TABLE = re.compile(r"^#?\[([a-z._]+)\]$")
SETTING = re.compile(r"^#?([a-z0-9_]+) = ")
EXAMPLE = re.compile(r"^# (\[\[?[a-z.]+\]\]?|[a-z0-9_]+ = .*)$")

HEAD = """.TH INTERCOMD.TOML 5 "" "intercomd {version}" "File formats"
.SH NAME
intercomd.toml \\- configuration of the video door intercom
.SH SYNOPSIS
.I /etc/intercomd/config.toml
.SH DESCRIPTION
"""
TAIL = """.SH FILES
.TP
.I /etc/intercomd/config.toml
This file.
.TP
.I /etc/intercomd/channel.key
The publishable key, mode 0600, owner root.
.TP
.I /etc/intercomd/board/, /usr/share/intercomd/board/
Board profiles.
.SH SEE ALSO
.BR intercomd (1),
.BR intercomd\\-check\\-config (1),
.BR intercomd\\-devices (1)
"""


def roff(text):
    """Text as roff shows it unchanged."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").replace('"', "\\(dq")
    return "\\&" + text if text.startswith((".", "\\(aq")) else text


def comment(lines):
    """The lines of an explanation, examples set apart and in a fixed width."""
    out, example = [], False
    for line in lines:
        is_example = bool(EXAMPLE.match(line))
        if is_example != example:
            out.append(".RS\n.EX" if is_example else ".EE\n.RE")
            example = is_example
        out.append(roff(line[1:].strip()))
    if example:
        out.append(".EE\n.RE")
    return "\n".join(out)


def entry(text, settings):
    """Settings with what is said about them."""
    if not settings:
        return ".PP\n" + comment(text)
    tags = [".TP\n.B " + roff(settings[0])] + [".TQ\n.B " + roff(more) for more in settings[1:]]
    return "\n".join(tags + [comment(text)] if text else tags)


def page(source, version):
    """The whole page; a line this does not understand ends it."""
    out, text, settings, tabled = [HEAD.format(version=roff(version))], [], [], False

    def close():
        if text or settings:
            out.append(entry(text, settings))
        text.clear()
        settings.clear()

    for number, line in enumerate(source.splitlines(), 1):
        line = line.rstrip()
        if table := TABLE.match(line):
            # What stands right above a table is about the table.
            about = list(text) if not settings else []
            if about:
                text.clear()
            close()
            out.append(f".SH [{roff(table[1])}]")
            if about:
                out.append(comment(about))
            tabled = True
        elif SETTING.match(line):
            if not tabled:
                out.append(".SH TOP OF THE FILE")
                tabled = True
            settings.append(line.removeprefix("#"))
        elif line.startswith("# ") or line == "#":
            if settings:
                close()
            text.append(line)
        elif not line:
            close()
        else:
            sys.exit(f"config-manual: line {number} is neither text nor setting nor table: {line}")
    close()
    return "\n".join(out) + "\n" + TAIL


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(page(file.read(), sys.argv[2]))
