"""Check a TOML file against tables of keys; collect all faults."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from epithermal_edge.config.year_curve import check_points


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table; `meaning` ends the message if the key is missing or wrong."""

    name: str
    kind: type
    meaning: str
    required: bool = False
    default: Any = None
    low: float = -float("inf")
    high: float = float("inf")
    choices: tuple[str, ...] = ()
    pattern: str = ""
    blank: bool = False  # a tab or a blank is a value
    single: bool = False  # a string stands for a list of one
    yearly: bool = False  # a table of such numbers by day, "MM-DD", is a value


def check_tables(
    tables: Mapping[str, tuple[Key, ...]],
    required: tuple[str, ...],
    data: Mapping[str, Any],
    faults: list[str],
) -> dict[str, dict[str, Any]]:
    """Return the values of every table with their defaults; invalid values are left out.

    Parameters
    ----------
    tables :
        Keys of each table; a dotted name is a table inside another one and is optional.
    required :
        Names of the tables that must be given.
    data :
        The file's content, from tomllib.
    faults :
        One line is appended for each fault.
    """
    given = {name: value for name, value in data.items() if name in tables}
    for inner in (name for name in tables if "." in name):
        outer, _, last = inner.partition(".")
        if isinstance(given.get(outer), Mapping) and last in given[outer]:
            given[inner] = given[outer][last]
            given[outer] = {name: value for name, value in given[outer].items() if name != last}
    faults += [describe_unknown(f"[{name}]", name, tables) for name in data if name not in tables]
    faults += [f"[{name}] is missing; add the table" for name in required if name not in given]
    values: dict[str, dict[str, Any]] = {}
    for name, keys in tables.items():
        table = given.get(name, {})
        if not isinstance(table, Mapping):
            faults.append(f"{name}: must be a table, written [{name}]")
        elif name in given or "." in name:
            below = [n.partition(".")[2] for n in tables if n.startswith(f"{name}.")]
            values[name] = _check_table(name, table, keys, below, faults)
    return values


def describe_unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Describe an unknown name: suggest the most similar known name, or list all."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    remedy = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return f"{what}: unknown; {remedy}"


def _check_table(
    table: str,
    given: Mapping[str, Any],
    keys: tuple[Key, ...],
    below: list[str],
    faults: list[str],
) -> dict[str, Any]:
    known = [*(key.name for key in keys), *below]
    faults += [
        describe_unknown(f"{table}.{name}", name, known) for name in given if name not in known
    ]
    values: dict[str, Any] = {}
    for key in keys:
        if key.name in given:
            value = given[key.name]
            if key.single and isinstance(value, str):
                value = [value]
            fault = _check_value(key, value)
            if fault:
                faults.append(f"{table}.{key.name}: {fault}; {key.meaning}")
            else:
                values[key.name] = _convert(key, value)
        elif key.required:
            faults.append(f"{table}.{key.name}: missing; {key.meaning}")
        else:
            values[key.name] = key.default
    return values


def _convert(key: Key, value: Any) -> Any:
    """Convert the integers that stand for floats."""
    if key.kind is not float:
        return value
    return {d: float(v) for d, v in value.items()} if isinstance(value, dict) else float(value)


def _check_value(key: Key, value: Any) -> str:
    """Return the reason why a value is invalid for the key; empty if it is valid."""
    shown = repr(value)
    if key.yearly and isinstance(value, dict):
        return "; ".join(check_points(value, key.low, key.high))
    if key.kind is float or key.kind is int:
        if isinstance(value, bool) or not isinstance(value, (int, key.kind)):
            return f"{shown} is not a number" if key.kind is float else f"{shown} is not an integer"
        if not key.low <= value <= key.high:
            return f"{shown} is not within {key.low:g} to {key.high:g}"
        return ""
    if not isinstance(value, key.kind):
        names = {
            str: "a string in quotes",
            bool: "true or false",
            list: "a list of strings",
            dict: "a table",
        }
        return f"{shown} is not {names[key.kind]}"
    if isinstance(value, list) and not (value and all(isinstance(v, str) and v for v in value)):
        return f"{shown} is not a list of strings"
    if isinstance(value, str) and not value.strip() and key.default != "" and not key.blank:
        return "is empty"
    if key.choices and value not in key.choices:
        return f"{shown} is none of {', '.join(key.choices)}"
    if key.pattern and not re.fullmatch(key.pattern, str(value)):
        return f"{shown} does not match {key.pattern}"
    return ""
