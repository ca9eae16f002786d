"""Templates escape every value and raise on an unknown name."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from epithermal_host.rendering import html

EVIL = '<b>"&'


@pytest.fixture(scope="module")
def parts():
    """The macros of parts.html as functions."""
    return html.environment().get_template("parts.html").module


def compact(text):
    return text.replace("\n", "")


def test_text_is_escaped_in_every_part(parts):
    shown = [
        parts.text_cell(EVIL),
        parts.heading(EVIL, 2),
        parts.remark(EVIL, 2),
        parts.table((EVIL, f"l:{EVIL}"), caller=str),
        parts.picture(b"", EVIL),
        html.render(html.TEMPLATES, "document.html", title=EVIL),
    ]
    for part in shown:
        assert EVIL not in part and "<b>" not in part and "&lt;b&gt;&#34;&amp;" in part


def test_a_number_is_marked_by_its_wanted_range_and_a_missing_one_is_empty(parts):
    assert parts.cell(0.5, "{:.1f}") == "<td>0.5</td>"
    assert parts.cell(0.5, "{:.1f}", (0.0, 1.0)) == '<td class="good">0.5</td>'
    assert parts.cell(2.0, "{:.1f}", (0.0, 1.0)) == '<td class="bad">2.0</td>'
    assert parts.cell(None, "{:.1f}") == parts.cell(float("nan"), "{:.1f}") == "<td></td>"


def test_a_strong_row_has_a_class(parts):
    assert compact(parts.row(caller=lambda: "1")) == "<tr>1</tr>"
    assert compact(parts.row(strong=True, caller=lambda: "1")) == '<tr class="n">1</tr>'


def test_a_picture_is_in_the_page_with_its_caption_as_alternative_text(parts):
    shown = parts.picture(b"\x89PNG", "two\n  lines")
    assert '<img src="data:image/png;base64,iVBORw==" alt="two lines">' in shown
    assert '<span class="s">two lines</span>' in shown


def test_an_unknown_name_in_a_template_is_an_error(tmp_path):
    with pytest.raises(UndefinedError, match="title"):
        html.render(html.TEMPLATES, "document.html")
    (tmp_path / "page.html").write_text("{{ theta }}")
    with pytest.raises(UndefinedError, match="theta"):
        html.render(tmp_path, "page.html")
