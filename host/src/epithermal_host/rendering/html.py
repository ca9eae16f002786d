"""Render a self-contained HTML page from Jinja2 templates.

`templates/document.html` is the page around every report, `templates/parts.html` has its tables,
cells and pictures. The text of a report is in the templates beside the module that computes it.
"""

from __future__ import annotations

import base64
import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


def environment(folder: Path = TEMPLATES) -> Environment:
    """Create an environment that escapes every value and raises on an unknown name.

    Parameters
    ----------
    folder :
        Templates of the report; they may use those of this package.
    """
    created = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    created.filters["base64"] = _base64
    created.tests["finite"] = _is_finite
    return created


def render(folder: Path, template: str, **values: object) -> str:
    """Render a page as text.

    Parameters
    ----------
    folder :
        Folder of the template.
    values :
        Values by name in the template.

    Raises
    ------
    jinja2.TemplateError
        The template uses an unknown name or is faulty.
    """
    return environment(folder).get_template(template).render(values)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
