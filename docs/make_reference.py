"""Write the reference pages that are made from the code: `make docs`.

A test holds the pages to what this writes, so that they cannot fall behind.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
COMMANDS = {
    "epithermal-edge": "epithermal_edge.cli",
    "epithermal-host": "epithermal_host.cli",
}


def help_of(module: str, *words: str) -> str:
    """What `module words... --help` prints, at a width of 90."""
    return subprocess.run(
        [sys.executable, "-m", module, *words, "--help"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "90", "NO_COLOR": "1"},
    ).stdout.strip()


def subcommands(text: str) -> list[str]:
    """The commands that a help text lists, in order: the lines indented by four blanks."""
    return re.findall(r"^ {4}([a-z][a-z-]*)(?: |$)", text, flags=re.MULTILINE)


def command_page() -> str:
    """docs/commands.md: the help of every command, one section each."""
    parts = ["# Commands\n\nMade by `make docs` from the programs' own `--help`.\n"]
    for program, module in COMMANDS.items():
        top = help_of(module)
        parts.append(f"## {program}\n\n```text\n{top}\n```\n")
        parts += [
            f"### {program} {name}\n\n```text\n{help_of(module, name)}\n```\n"
            for name in subcommands(top)
        ]
    return "\n".join(parts)


PAGES = {"commands.md": command_page}


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
