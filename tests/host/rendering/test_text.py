"""Values and tables are formatted for JSON and Markdown."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from epithermal_host.rendering.text import markdown, plain


@dataclasses.dataclass(frozen=True)
class Inner:
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    array: object
    count: object


def test_any_result_becomes_json_with_null_for_nan():
    value = Outer("x", Inner((1.0, float("nan"))), np.array([[1, 2]]), np.float32("inf"))
    assert plain(value) == {
        "name": "x", "inner": {"values": [1.0, None]}, "array": [[1, 2]], "count": None,
    }  # fmt: skip
    json.dumps(plain({1: value}), allow_nan=False)


def test_integers_booleans_and_none_are_unchanged():
    assert plain([np.int64(3), np.bool_(True), None, "a"]) == [3, True, None, "a"]
    assert [type(x) for x in plain([np.int64(3), np.bool_(True)])] == [int, bool]


def test_a_table_has_a_head_a_rule_and_its_rows():
    assert markdown(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
