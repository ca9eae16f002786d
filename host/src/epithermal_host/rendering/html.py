"""Render a self-contained HTML page from Jinja2 templates.

`templates/document.html` is the page around every report, `templates/parts.html` has its tables,
cells and pictures. What a report says stands in the templates beside the module that computes it.
"""

from __future__ import annotations

import base64
import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


def environment(folder: Path = TEMPLATES) -> Environment:
    """Return an environment that escapes every value and raises on an unknown name.

    Parameters
    ----------
    folder :
        Templates beside those of this package.
    """
    made = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    made.filters["base64"] = _base64
    made.tests["finite"] = _is_finite
    return made


def render(folder: Path, template: str, **values: object) -> str:
    """Return a page as text.

    Parameters
    ----------
    folder :
        Of the template.
    values :
        Names in the template.

    Raises
    ------
    jinja2.TemplateError
        The template asks for what it is not given, or is faulty.
    """
    return environment(folder).get_template(template).render(values)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
