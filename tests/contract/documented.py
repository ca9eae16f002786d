"""Extract the commands in the code blocks of README and docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN = ("*.md", "edge/*.md", "host/*.md", "tests/*/README.md", "docs/**/*.md", "deploy/**/*.md")
PAGES = sorted({page for pattern in OWN for page in ROOT.glob(pattern)})
PROGRAMS = (
    r"(?:sudo|make|pip|cp|cat|sed|ssh|scp|apt|apt-get|man|python3?|openssl|pytest|git|cd|curl|npm"
    r"|mosquitto\w*|systemctl|journalctl|dask"
    r"|epithermal-(?:edge|host)|deploy/\S+|\w+=\S+ \S+)(?:\s|$)"
)
"""Start of a command in a block without a language."""


def blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield language and lines of each code block; an indented one has no language."""
    fence, language, lines, before = "", "", list[str](), ""
    for line in text.splitlines():
        mark = re.match(r"\s*(```+)(\w*)", line)
        if fence:
            if mark and mark[1] == fence:
                yield language, lines
                fence, lines = "", []
            else:
                lines.append(line)
        elif mark:
            fence, language = mark[1], mark[2] or "none"
        elif line.startswith("    ") and (not before or lines):
            lines.append(line[4:])
        elif lines and line:
            yield "", lines
            lines = []
        before = line.strip()
    if lines:
        yield language if fence else "", lines


def commands(page: Path) -> list[str]:
    """List the shell commands of a page in order, without comments."""
    found = []
    for language, lines in blocks(page.read_text("utf-8")):
        if language in ("", "none", "sh", "bash"):
            written = [line for line in joined(lines) if line.strip()]
            shell = language in ("sh", "bash")
            found += [line for line in written if shell or re.match(PROGRAMS, line)]
    return [line for line in map(bare, found) if line]


def joined(lines: list[str]) -> Iterator[str]:
    """Join the lines of each command: continued lines and here-documents."""
    end, parts = "", list[str]()
    for line in lines:
        parts.append(line.removeprefix("$ ") if not parts else line)
        if end:
            end = "" if line == end else end
        elif here := re.search(r"<<'?(\w+)'?", line):
            end = here[1]
        if not end and not line.endswith("\\"):
            yield "\n".join(parts)
            parts = []
    if parts:
        yield "\n".join(parts)


def bare(command: str) -> str:
    """Strip the comment at the end of a command's first line."""
    first, newline, rest = command.partition("\n")
    return re.sub(r"(?:^|\s+)#\s.*$", "", first) + newline + rest
