"""Tables of keys, and the walk that checks a TOML file against them without stopping at a fault."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file; `meaning` ends the message when it is missing or wrong."""

    name: str
    kind: type
    meaning: str
    required: bool = False
    default: Any = None
    low: float = -float("inf")
    high: float = float("inf")
    choices: tuple[str, ...] = ()
    pattern: str = ""


def check_tables(
    tables: Mapping[str, tuple[Key, ...]],
    required: tuple[str, ...],
    data: Mapping[str, Any],
    faults: list[str],
) -> dict[str, dict[str, Any]]:
    """Values of every table, defaults filled in; a value that is wrong is left out.

    Parameters
    ----------
    tables :
        Keys of each table; a dotted name is a table in a table, and that one may be left out.
    required :
        Names of the tables that must be there.
    data :
        As tomllib read it.
    faults :
        Gets one line for each fault.
    """
    found = {name: value for name, value in data.items() if name in tables}
    for inner in (name for name in tables if "." in name):
        outer, _, last = inner.partition(".")
        if isinstance(found.get(outer), Mapping) and last in found[outer]:
            found[inner] = found[outer][last]
            found[outer] = {name: value for name, value in found[outer].items() if name != last}
    faults += [describe_unknown(f"[{name}]", name, tables) for name in data if name not in tables]
    faults += [f"[{name}] is missing; add the table" for name in required if name not in found]
    values: dict[str, dict[str, Any]] = {}
    for name, keys in tables.items():
        table = found.get(name, {})
        if not isinstance(table, Mapping):
            faults.append(f"{name}: must be a table, written [{name}]")
        elif name in found or "." in name:
            below = [n.partition(".")[2] for n in tables if n.startswith(f"{name}.")]
            values[name] = _check_table(name, table, keys, below, faults)
    return values


def describe_unknown(what: str, name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not known: the nearest one, or all."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    remedy = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return f"{what}: unknown; {remedy}"


def _check_table(
    table: str,
    found: Mapping[str, Any],
    keys: tuple[Key, ...],
    below: list[str],
    faults: list[str],
) -> dict[str, Any]:
    known = [*(key.name for key in keys), *below]
    faults += [describe_unknown(f"{table}.{name}", name, known) for name in found if name not in known]
    values: dict[str, Any] = {}
    for key in keys:
        if key.name in found:
            fault = _check_value(key, found[key.name])
            if fault:
                faults.append(f"{table}.{key.name}: {fault}; {key.meaning}")
            else:
                value = found[key.name]
                values[key.name] = float(value) if key.kind is float else value
        elif key.required:
            faults.append(f"{table}.{key.name}: missing; {key.meaning}")
        else:
            values[key.name] = key.default
    return values


def _check_value(key: Key, value: Any) -> str:
    """Why a value cannot be that of the key; empty when it can."""
    shown = repr(value)
    if key.kind is float or key.kind is int:
        if isinstance(value, bool) or not isinstance(value, (int, key.kind)):
            return f"{shown} is not a number" if key.kind is float else f"{shown} is not an integer"
        if not key.low <= value <= key.high:
            return f"{shown} is not within {key.low:g} to {key.high:g}"
        return ""
    if not isinstance(value, key.kind):
        names = {
            str: "a text in quotes",
            bool: "true or false",
            list: "a list of texts",
            dict: "a table",
        }
        return f"{shown} is not {names[key.kind]}"
    if isinstance(value, list) and not (value and all(isinstance(v, str) and v for v in value)):
        return f"{shown} is not a list of texts"
    if isinstance(value, str) and not value.strip() and key.default != "":
        return "is empty"
    if key.choices and value not in key.choices:
        return f"{shown} is none of {', '.join(key.choices)}"
    if key.pattern and not re.fullmatch(key.pattern, str(value)):
        return f"{shown} does not match {key.pattern}"
    return ""
