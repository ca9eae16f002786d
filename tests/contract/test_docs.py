"""Commands and links in README and docs are valid, and generated pages are up to date."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
import sys
from urllib.parse import unquote

import pytest
from tests.contract.documented import PAGES, ROOT

from epithermal_edge.cli import main as edge_cli
from epithermal_host.cli import main as host_cli

PARSERS = {"epithermal-edge": edge_cli.parser, "epithermal-host": host_cli._parser}


def code_lines(text):
    """List the lines of code blocks, fenced or indented, with continued lines joined."""
    fenced, lines, before = False, [], ""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or (line.startswith("    ") and (not before or before.startswith("    "))):
            lines.append(line.strip())
        before = line.rstrip()
    return lines


def commands(page, *programs):
    """List the words of each command of a page, and whether it is a synopsis: X [--y Z]."""
    found = []
    for line in code_lines(page.read_text("utf-8")):
        for part in re.split(r"\s(?:&&|\||>)\s", line.removeprefix("$ ")):
            if not re.match(rf"\s*(?:{'|'.join(programs)})(?:\s|$)", part):
                continue
            command = re.split(r"\s{5,}(?=[a-z])", part)[0]  # without a column of explanations
            found.append((shlex.split(command, comments=True), "[-" in command))
    return found


def subcommand(parser, words):
    """Return the parser of the subcommand, and the words after it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            name = next((w for w in words if not w.startswith("-")), None)
            if name is None:
                return parser, words
            assert name in action.choices, f"{parser.prog}: no command {name!r}"
            return subcommand(action.choices[name], words[words.index(name) + 1 :])
    return parser, words


def problem(words, synopsis):
    """Describe the fault of a documented command; return None without fault."""
    parser, rest = subcommand(PARSERS[words[0]](), words[1:])
    options = {o for action in parser._actions for o in action.option_strings}
    given = {w.strip("[]").split("=")[0] for w in rest if w.lstrip("[").startswith("--")}
    if given - options:
        return f"{parser.prog} has no {', '.join(sorted(given - options))}"
    if synopsis or {"--help", "--version"} & set(words):
        return None
    try:
        PARSERS[words[0]]().parse_args([w.removesuffix("...") for w in words[1:]])
    except SystemExit as stop:
        return f"exit {stop.code}"
    return None


def page_id(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_each_documented_command_exists_with_its_options(page, capsys):
    wrong = []
    for words, synopsis in commands(page, *PARSERS):
        try:
            fault = problem(words, synopsis)
        except AssertionError as error:
            fault = str(error)
        if fault:
            wrong.append(f"{shlex.join(words)}: {fault} {capsys.readouterr().err[-200:]}")
    assert not wrong, "\n".join(wrong)


def test_commands_were_found_and_a_wrong_one_would_be():
    readme = [words for words, _ in commands(ROOT / "README.md", *PARSERS)]
    assert ["epithermal-edge", "check", "station.toml"] in readme
    assert len(readme) == 1
    assert "--until" in problem(["epithermal-edge", "run", "a", "[--until", "S]"], True)
    assert problem(["epithermal-host", "simulate", "run.toml"], False) == "exit 2"
    with pytest.raises(AssertionError, match="no command 'fly'"):
        problem(["epithermal-host", "fly"], False)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_each_documented_make_target_exists(page):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    text = page.read_text("utf-8")
    wanted = {w for words, _ in commands(page, "make") for w in words[1:] if w[0] != "-"}
    wanted |= set(re.findall(r"`make ([a-z-]+)`", text))
    assert {w for w in wanted if "=" not in w} <= targets


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_each_relative_link_points_to_a_file(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    local = [link for link in links if not re.match(r"[a-z]+:|#", link)]
    missing = [link for link in local if not (page.parent / unquote(link.split("#")[0])).exists()]
    assert not missing


def anchors(page):
    """Return the anchors of a page's headings, named as on GitHub."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_each_link_into_a_page_points_to_a_heading(page):
    links = re.findall(r"\]\(([^)\s:]*)#([^)\s]+)\)", page.read_text("utf-8"))
    targets = [
        ((page.parent / unquote(path)).resolve() if path else page, at) for path, at in links
    ]
    missing = [at for path, at in targets if path.suffix == ".md" and at not in anchors(path)]
    assert not missing


def test_the_map_of_the_docs_names_every_page_once():
    links = re.findall(r"\]\(([^)#\s]+\.md)\)", (ROOT / "docs" / "README.md").read_text("utf-8"))
    linked = [link for link in links if not link.startswith("../")]
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(linked) == sorted(set(pages) - {"README.md"})


def test_each_picture_of_the_docs_is_shown_in_a_page():
    text = "".join(page.read_text("utf-8") for page in PAGES)
    pictures = [path.name for path in (ROOT / "docs" / "figures").iterdir()]
    assert pictures and not [name for name in pictures if f"figures/{name}" not in text]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse wraps its help differently")
def test_the_page_of_commands_is_what_the_programs_print():
    spec = importlib.util.spec_from_file_location("made", ROOT / "docs" / "make_reference.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    for name, make in reference.PAGES.items():
        now = (ROOT / "docs" / name).read_text("utf-8")
        assert now == make(), f"docs/{name} is out of date: make docs"
