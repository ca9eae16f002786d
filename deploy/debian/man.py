"""Generate the man page from the program's help texts."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).resolve().parents[2] / "docs"
MODULE, PROGRAM = "epithermal_edge", "epithermal-edge"
FILES = {
    "/etc/epithermal/station.toml": "configuration; explains every key",
    "/etc/epithermal/credentials": "password, certificates, keys; readable by root only",
    "/var/lib/epithermal": "journal, health.json, models",
    "/usr/share/epithermal/models": "the model of the package",
    "/usr/share/doc/epithermal-edge/docs": "install.md, station.md, mqtt.md and all other pages",
    "/usr/share/doc/epithermal-edge/examples": "broker, dashboards, signed commands",
}


def manual(date: int) -> str:
    """Return epithermal-edge(1) as roff."""
    reference = _reference()
    day = time.strftime("%Y-%m-%d", time.gmtime(date))
    parts = [
        f'.TH EPITHERMAL-EDGE 1 "{day}" "epithermal" "User Commands"',
        ".SH NAME",
        f"{_plain(PROGRAM)} \\- neutron counts to root-zone soil water, at the detector",
        ".SH SYNOPSIS",
        f".B {_plain(PROGRAM)}",
        '.RI [ OPTION ]... " COMMAND" ...',
        ".SH DESCRIPTION",
        *_verbatim(reference.help_of(MODULE)),
        ".SH COMMANDS",
    ]
    for words in _commands(reference):
        parts += [f".SS {_plain(' '.join(words))}", *_verbatim(reference.help_of(MODULE, *words))]
    parts.append(".SH FILES")
    for path, what in FILES.items():
        parts += [".TP", f".I {_plain(path)}", _plain(what)]
    return "\n".join(parts) + "\n"


def _commands(reference: ModuleType, *words: str) -> list[tuple[str, ...]]:
    """Return the words of every command without subcommands."""
    below = reference.subcommands(reference.help_of(MODULE, *words))
    if not below:
        return [words]
    return [leaf for name in below for leaf in _commands(reference, *words, name)]


def _verbatim(text: str) -> list[str]:
    return [".nf", *map(_plain, text.splitlines()), ".fi"]


def _plain(line: str) -> str:
    """Return a line escaped so that roff prints it unchanged."""
    line = line.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _reference() -> ModuleType:
    """Import docs/make_reference.py, which reads the help texts."""
    spec = importlib.util.spec_from_file_location("reference", DOCS / "make_reference.py")
    assert spec is not None and spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    return reference
