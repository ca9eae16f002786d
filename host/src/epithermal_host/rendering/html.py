"""Format the parts of a self-contained HTML page."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from html import escape

STYLE = """\
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.2rem; margin-top: 2.2rem;
  border-bottom: 1px solid #ccc }
div.t { overflow-x: auto; margin: .8rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92em }
th, td { padding: .2rem .5rem; text-align: right; border-bottom: 1px solid #e5e5e5 }
th { font-weight: 600; vertical-align: bottom } td.l, th.l { text-align: left }
tr.k td { background: #f2f2f2; font-weight: 600; text-align: left }
tr.n td { font-weight: 600 } td.bad { background: #fbdcd0 } td.good { background: #dcefe3 }
img { max-width: 100%; height: auto } .s { color: #555; font-size: .9em }
dt { font-weight: 600; float: left; clear: left; margin-right: .5em } dd { margin-left: 8.5em }
td.l { white-space: nowrap }
"""


def document(title: str, parts: Iterable[str]) -> str:
    """Format a page from its parts; omit empty ones."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Format a section: a heading and its parts."""
    return "\n".join([f"<h2>{escape(title)}</h2>", *(p for p in parts if p)])


def picture(content: bytes, caption: str) -> str:
    """Format an image that contains its PNG, with a caption."""
    data = base64.b64encode(content).decode("ascii")
    text = escape(caption)
    image = f'<img src="data:image/png;base64,{data}" alt="{text}">'
    return f'<p>{image}<br><span class="s">{text}</span></p>'


def note(text: str) -> str:
    """Format a paragraph in small print."""
    return f'<p class="s">{escape(text)}</p>'


def text_cell(text: str) -> str:
    """Format a table cell with text."""
    return f'<td class="l">{escape(text)}</td>'


def row(cells: Iterable[str], strong: bool = False) -> str:
    """Format a table row; `strong` marks a row of the network."""
    kind = ' class="n"' if strong else ""
    return f"<tr{kind}>{''.join(cells)}</tr>"


def heading(text: str, columns: int) -> str:
    """Format a row over all columns as a heading of the rows below it."""
    return f'<tr class="k"><td colspan="{columns}">{escape(text)}</td></tr>'


def remark(text: str, columns: int) -> str:
    """Format a row of text over all columns."""
    style = "white-space:normal"
    return f'<tr><td class="l" style="{style}" colspan="{columns}">{escape(text)}</td></tr>'


def table(head: Sequence[str], rows: Iterable[str]) -> str:
    """Format a table; the prefix `l:` aligns a column's name to the left."""
    cells = "".join(
        f'<th class="l">{escape(name[2:])}</th>' if name[:2] == "l:" else f"<th>{escape(name)}</th>"
        for name in head
    )
    body = f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="t"><table>{body}</table></div>'


def cell(value: float | None, form: str, wanted: tuple[float, float] | None = None) -> str:
    """Format a table cell with a number: red outside of the wanted range, empty if not finite."""
    if value is None or not math.isfinite(value):
        return "<td></td>"
    kind = ""
    if wanted is not None:
        kind = ' class="good"' if wanted[0] <= value <= wanted[1] else ' class="bad"'
    return f"<td{kind}>{escape(form.format(value))}</td>"
