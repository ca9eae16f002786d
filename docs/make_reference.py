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
PROGRAMS = {
    "epithermal_edge.cli": "epithermal-edge",
    "epithermal_host.cli": "epithermal-host",
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
    return re.findall(r"^ {4}([a-z][a-z0-9-]*)(?: |$)", text, flags=re.MULTILINE)


def sections(module: str, *words: str) -> list[str]:
    """The help of a command and of all below it, one section each."""
    text = help_of(module, *words)
    program = " ".join((PROGRAMS[module], *words))
    level = "##" if not words else "###"
    parts = [f"{level} {program}\n\n```text\n{text}\n```\n"]
    for name in subcommands(text):
        parts += sections(module, *words, name)
    return parts


def command_page() -> str:
    """docs/commands.md: the help of every command."""
    parts = ["# Commands\n\nMade by `make docs` from the programs' own `--help`.\n"]
    for module in PROGRAMS:
        parts += sections(module)
    return "\n".join(parts)


PAGES = {"commands.md": command_page}


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
