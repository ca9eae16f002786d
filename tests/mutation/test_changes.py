"""The list of one-line changes has each kind, and leaves out what has no meaning."""

from __future__ import annotations

import pytest
from tests.mutation.__main__ import JUDGED, MODULES, own_tests, rows
from tests.mutation.changes import changed_source, changes, lines_that_mean
from tests.mutation.coverage_map import ROOT, Map

SOURCE = '''"""Docstring with 5 numbers."""

def f(a: int = 3, *, b: bool = True) -> float:
    """Another one."""
    if a > 2 and not b:
        log.warning("%d", a)
        store.keep(a, again=b)
    return max(abs(a - 1), 0.5)
'''


def after(number: int) -> set[str]:
    return {change.after for change in changes("f.py", SOURCE, number)}


@pytest.mark.parametrize(
    ("number", "some"),
    [
        (3, {"def f(a: int = 4, *, b: bool = True) -> float:"}),
        (3, {"def f(a: int = 3, *, b: bool = False) -> float:"}),
        (5, {"if a >= 2 and not b:", "if a < 2 and not b:", "if a > 3 and not b:"}),
        (5, {"if a > 2 or not b:", "if (a > 2):", "if (not b):", "if a > 2 and (b):"}),
        (5, {"if not (a > 2 and not b):", "if False:"}),
        (7, {"pass", "store.keep(a, )"}),
        (8, {"return max(abs(a + 1), 0.5)", "return max((a - 1), 0.5)", "return (abs(a - 1))"}),
        (8, {"return max(abs(a - 1), 0.55)", "return None"}),
    ],
)
def test_each_kind_of_change_is_listed(number, some):
    assert some <= after(number)


def test_docstrings_annotations_and_logs_are_left_as_they_are():
    assert lines_that_mean(SOURCE) == [3, 5, 7, 8]
    assert not any("str" in line for line in after(3))


def test_a_change_replaces_its_line_and_nothing_else():
    (change,) = (c for c in changes("f.py", SOURCE, 7) if c.after == "pass")
    lines, old = changed_source(SOURCE, change).splitlines(), SOURCE.splitlines()
    assert lines[6] == "        pass" and lines[:6] + lines[7:] == old[:6] + old[7:]
    with pytest.raises(ValueError, match=r"f\.py:7: not"):
        changed_source(SOURCE.replace("keep", "hold"), change)


def test_a_line_that_has_moved_or_is_new_has_the_tests_of_its_old_place():
    tests = {"f.py": {5: ["test_if"], 8: ["test_return"]}}
    known = Map({"f.py": SOURCE.splitlines()}, tests, {}, {})
    moved = SOURCE.replace("    if", "    a = a\n    if")
    assert known.covering("f.py", moved, 6) == (["test_if"], [])
    assert known.covering("f.py", moved, 9) == (["test_return"], [])
    assert known.covering("f.py", SOURCE + "x = 1\n", 9) == (["test_return"], [])


def test_every_module_has_its_file_of_tests():
    assert [m for m in MODULES if not (ROOT / m).is_file()] == []
    assert [m for m in MODULES if not (ROOT / own_tests(m)).is_file()] == []


def test_a_bar_in_the_code_of_a_row_parts_no_cells(tmp_path):
    table = tmp_path / "report.md"
    table.write_text("| a | b |\n|---|---|\n| `x | y` | `(x)` |\n| f.py:3 |  |\n")
    assert rows(table) == [("a", "b"), ("x | y", "(x)"), ("f.py:3", "")]


def test_each_judged_change_names_a_module_and_the_reason():
    judged = rows(JUDGED)[1:]
    assert judged and all(len(row) == 4 and all(row) and row[0] in MODULES for row in judged)
