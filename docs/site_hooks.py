"""Navigation, links, fields and shapes of the documentation site: hooks of MkDocs and of Griffe."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
LINK = re.compile(r"\[([^]]*)\]\(([^)#\s]+)\)")
TARGET = re.compile(r"\]\(([^)#\s]+)")
SHAPE = re.compile(r"\(|\[|.*\s\[")
"""Begins a shape or a unit, "(n,)", "[hPa]" or "(...) [hPa]", and no Python type."""


def on_config(config: Any) -> Any:
    """Set the navigation from the map in docs/README.md, the address from the package."""
    project = tomllib.loads((ROOT / "edge" / "pyproject.toml").read_text("utf-8"))["project"]
    address = project["urls"]["Repository"]
    icon = {"icon": "fontawesome/brands/git-alt", "link": address, "name": "Repository"}
    config.extra |= {"repository": address, "social": [icon]}
    config.nav = navigation((DOCS / "README.md").read_text("utf-8"))
    return config


def navigation(text: str) -> list[Any]:
    """Return sections and pages of the map in order: `{heading: [{title: path}, ...]}`.

    A heading of the third level is a section within the one of the second level above it.
    """
    nav: list[Any] = [{"Home": "README.md"}]
    section: list[Any] = []
    pages: list[Any] = []
    for line in text.splitlines():
        if heading := re.match(r"(##+) (.+)", line):
            pages = []
            if heading[1] == "##":
                section = pages
            (nav if heading[1] == "##" else section).append({heading[2]: pages})
        elif len(nav) > 1:
            pages += [{title[:1].upper() + title[1:]: path} for title, path in LINK.findall(line)]
    return nav


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Give links to folders and to files outside docs/ their address in the repository."""
    here = (DOCS / page.file.src_uri).parent

    def absolute(link: re.Match[str]) -> str:
        target = (here / link[1]).resolve()
        if ":" in link[1] or (target.is_file() and target.is_relative_to(DOCS)):
            return link[0]
        kind = "tree" if target.is_dir() else "blob"
        path = target.relative_to(ROOT).as_posix()
        return f"]({config.extra['repository']}/{kind}/main/{path}"

    return TARGET.sub(absolute, markdown)


class Docstrings(griffe.Extension):
    """Show shapes and units as docstrings write them, and fields with their comments."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Adapt the parsed docstring of one module, class or function."""
        obj.exports = None  # what a folder exports is shown once, in its own module
        if obj.docstring is None:
            return
        obj.docstring.value = obj.docstring.value.replace("] [", "] \\[")  # two units, not a link
        lines = obj.docstring.value.splitlines()
        for section in obj.docstring.parsed:
            if section.kind.value in ("parameters", "returns"):
                head = lines.index(section.kind.value.capitalize())
                for item, text in zip(section.value, slots(lines[head + 2 :]), strict=False):
                    if SHAPE.match(text):  # Griffe reads it as Python and loses the brackets
                        item.annotation = text
                    if isinstance(item, griffe.DocstringReturn) and not item.description:
                        item.annotation, item.description = obj.returns, f"`{text}`"
        if isinstance(obj, griffe.Class) and (fields := list(commented(obj))):
            obj.docstring.parsed.append(griffe.DocstringSectionAttributes(fields))


def slots(lines: list[str]) -> Iterator[str]:
    """Yield what follows `name :` for each name of a numpy section; the line if it has no name."""
    for line, below in itertools.pairwise([*lines, ""]):
        if below.startswith("---"):
            return
        if line and not line.startswith(" "):
            names, colon, text = line.partition(" :")
            for _ in names.split(", ") if colon else ("",):
                yield text.strip() if colon else line


def commented(cls: griffe.Class) -> Iterator[griffe.DocstringAttribute]:
    """Yield the fields of a class with the comment at the end of their line as description."""
    for field in cls.attributes.values():
        if field.lineno is None or "instance-attribute" not in field.labels:
            continue
        first, *below = cls.lines_collection[cls.filepath][field.lineno - 1 : cls.endlineno]
        _, mark, text = first.partition("  # ")
        for more in below:  # a comment that goes on begins with a small letter
            if not mark or not (rest := re.match(r"\s+# ([^A-Z].*)", more)):
                break
            text += f" {rest[1]}"
        yield griffe.DocstringAttribute(
            field.name, annotation=field.annotation, description=text.strip()
        )
