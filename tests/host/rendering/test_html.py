"""Parts of a page escape their text."""

from __future__ import annotations

from epithermal_host.rendering import html


def test_text_is_escaped_in_every_part():
    evil = '<b>"&'
    for part in (html.note(evil), html.text_cell(evil), html.heading(evil, 2), html.remark(evil, 2),
                 html.section(evil), html.table((evil,), []), html.picture(b"", evil)):  # fmt: skip
        assert "<b>" not in part and "&lt;b&gt;" in part


def test_a_number_is_marked_by_its_range_and_a_missing_one_is_empty():
    assert html.cell(0.5, "{:.1f}", (0.0, 1.0)) == '<td class="good">0.5</td>'
    assert html.cell(2.0, "{:.1f}", (0.0, 1.0)) == '<td class="bad">2.0</td>'
    assert html.cell(None, "{:.1f}") == html.cell(float("nan"), "{:.1f}") == "<td></td>"


def test_a_strong_row_has_a_class():
    assert html.row(["<td>1</td>"]) == "<tr><td>1</td></tr>"
    assert html.row(["<td>1</td>"], strong=True) == '<tr class="n"><td>1</td></tr>'
