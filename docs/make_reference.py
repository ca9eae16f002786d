"""Write the reference pages that are made from the code: `make docs`.

A test holds the pages to what this writes, so that they cannot fall behind.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from epithermal_edge.config.schema import REQUIRED, TABLES
from epithermal_edge.config.toml_keys import Key

DOCS = Path(__file__).resolve().parent
EXAMPLE = DOCS.parent / "deploy" / "station.example.toml"
PROGRAMS = {
    "epithermal_edge": "epithermal-edge",
    "epithermal_host": "epithermal-host",
}
KINDS = {
    float: "number",
    int: "integer",
    str: "text",
    bool: "true or false",
    list: "list of texts",
    dict: 'table of `"MM-DD" = share`',
}

CONFIGURATION = """\
# Configuration: station.toml

Made by `make docs` from the station's own table of keys and the comments of
[station.example.toml](../deploy/station.example.toml), which has every key. One TOML file, read
once. Paths are relative to its folder. A key that is not listed here is an error; all errors are
told at once. What the keys do together is told in [station.md](station.md).
"""
PAYLOADS = """\
# Payloads

Made by `make docs` from the JSON Schemas in [mqtt/](mqtt/), which the tests hold every message to.
Topics, flags and delivery: [mqtt.md](mqtt.md). What may be *null* is null where it is not known.
"""


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


def comments() -> dict[str, str]:
    """What the example says of each key, by table.key, without the default."""
    found: dict[str, str] = {}
    table = last = ""
    for line in EXAMPLE.read_text("utf-8").splitlines():
        if header := re.match(r"(?:# )?\[([a-z0-9_.]+)\]", line):
            table, last = header[1], ""
        elif key := re.match(r"(?:# )?([a-z0-9_]+) = .*?  ?# (.+)$", line):
            last = f"{table}.{key[1]}"
            found[last] = re.sub(r"^optional(?: \([^)]*\))?[:,]? ?", "", key[2])
        elif last and (more := re.match(r"\s+# (.+)$", line)):
            found[last] += f" {more[1]}"
        elif not line.startswith("#"):
            last = ""
    return {name: text for name, text in found.items() if not text.startswith("as above")}


def kind(key: Key) -> str:
    """Type and range of a key."""
    if key.choices:
        return ", ".join(f"`{choice}`" for choice in key.choices)
    if key.pattern:
        return f"`{key.pattern}`"
    bounded = key.low > -float("inf")
    return KINDS[key.kind] + (f", {key.low:g} to {key.high:g}" if bounded else "")


def default(key: Key) -> str:
    """What a key is when it is not given."""
    if key.required:
        return "**required**"
    if key.default is None or key.default == "" or key.default != key.default:
        return "-"
    if isinstance(key.default, bool):
        return f"`{str(key.default).lower()}`"
    return f"`{key.default:g}`" if isinstance(key.default, float) else f"`{key.default}`"


def configuration_page() -> str:
    """docs/configuration.md: every key of station.toml."""
    told = comments()
    parts = [CONFIGURATION]
    for table, keys in TABLES.items():
        needed = "required" if table in REQUIRED else "may be left out"
        parts.append(f"## [{table}]\n\n{needed[0].upper()}{needed[1:]}.\n")
        rows = ["| key | type, range | default | meaning |", "|---|---|---|---|"]
        for key in keys:
            meaning = told.get(f"{table}.{key.name}", key.meaning).replace("|", "\\|")
            rows.append(f"| `{key.name}` | {kind(key)} | {default(key)} | {meaning} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def payload_page() -> str:
    """docs/payloads.md: every field of every message."""
    parts = [PAYLOADS]
    for path in sorted((DOCS / "mqtt").glob("*.schema.json")):
        schema = json.loads(path.read_text("utf-8"))
        parts.append(f"## `{schema['title']}`\n\n[{path.name}](mqtt/{path.name})")
        if "description" in schema:
            parts[-1] += f": {schema['description']}"
        parts[-1] += "\n"
        rows = ["| field | type | meaning |", "|---|---|---|"]
        for name, kinds, meaning in fields(schema, schema.get("$defs", {}), ""):
            rows.append(f"| `{name}` | {kinds} | {meaning} |".replace("|  |", "| |"))
        if len(rows) > 2:
            parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def fields(
    schema: dict[str, Any], definitions: dict[str, Any], before: str
) -> Iterator[tuple[str, str, str]]:
    """Name, type and meaning of each property, those inside another by `outer.inner`."""
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        found = resolved(inner, definitions)
        shown = f"{before}{name}"
        kinds = type_of(found, definitions) + ("" if name in required else ", may miss")
        yield shown, kinds, str(found.get("description", "")).replace("|", "\\|")
        for option in (found, *(resolved(o, definitions) for o in found.get("oneOf", ()))):
            yield from fields(option, definitions, f"{shown}.")
            if isinstance(option.get("items"), dict):
                items = resolved(option["items"], definitions)
                yield from fields(items, definitions, f"{shown}[].")


def resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A schema and what it refers to, its own words first."""
    if "$ref" not in schema:
        return schema
    return {**definitions[schema["$ref"].rpartition("/")[2]], **schema}


def type_of(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Type, choices and range of a value, in words."""
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in schema["enum"])
    for several in ("oneOf", "anyOf"):
        if several in schema:
            options = (type_of(resolved(o, definitions), definitions) for o in schema[several])
            return " or ".join(dict.fromkeys(options))
    types = schema.get("type", "any")
    text = types if isinstance(types, str) else " or ".join(types)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f"{text}, {low:g} to {high:g}"
    if low is not None:
        return f"{text}, {low:g} or more" if "minimum" in schema else f"{text}, above {low:g}"
    return text


PAGES = {
    "commands.md": command_page,
    "configuration.md": configuration_page,
    "payloads.md": payload_page,
}


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
