"""Plain words: a function's summary begins with a verb, and words of many meanings stay out.

`python tests/contract/test_words.py [FOLDER ...]` lists what is left below a folder.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("edge/src", "host/src")
PROSE = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "deploy")

VERBS = frozenset(
    re.findall(
        r"\w+",
        """
    abandon abort accept acknowledge add adjust adopt advance aggregate align allocate allow
    announce anonymize answer append apply approximate arrange ask assemble assert assess
    assign attach attempt average await back balance bin bind block bootstrap bound break
    bring broadcast build calculate calibrate call cancel cap capture carry cast catch
    change check choose claim classify clean clear clip close collect color combine commit
    compare compile complete compose compress compute concatenate condense configure confirm
    connect consider consume continue convert copy correct correlate count cover create
    cross cut damp date deal debias decide declare decline decode decompress decorate
    decrease decrypt deduplicate define delay delegate delete deliver demand derive describe
    detach detect determine differentiate disable discard disconnect discretize dispatch
    display distinguish distribute divide do double download drain draw drive drop dump
    embed emit empty enable encode encrypt end enforce enlarge ensure enter enumerate equal
    erase escape establish estimate evaluate examine exchange exclude execute exit expand
    expect expire explain export expose express extend extract extrapolate fail fall feed
    fetch fill filter find finish fit fix flag flatten flip floor flush fold follow forbid
    force forecast forget fork form format forward free freeze generate get grade group grow
    guard guess handle hash hide hold identify ignore import impose improve include increase
    index infer inform initialize inject insert inspect install integrate interpolate
    interpret interrupt introduce invert invoke issue iterate join judge key kill label
    launch lead leave lengthen limit linearize link list listen load locate lock log look
    lower map mark mask match maximize measure meet merge migrate minimize mirror mix model
    modify mount move multiply name narrow normalize note notice notify number obey obtain
    offer omit open optimize order orient overwrite pack pad pair park parse part partition
    pass patch pause perform perturb pick place plan plot point poll pop populate post
    postpone precompile predict prepare present preserve print probe proceed process produce
    project propagate propose protect prove provide prune publish pull purge push quantize
    query queue quote raise randomize rank read rebuild recalibrate receive recognize
    recommend recompute reconnect reconstruct record recover reduce refer refill refit
    refresh refuse register regress reject relate release reload remember remove rename
    render reopen repair repeat replace replay report represent reproduce republish request
    require resample rescale resend reserve reset reshape resize resolve respond restart
    restore restrict resume retrain retry return reuse reverse revise rewind rewrite roll
    rotate round route run sample sanitize save scale scan schedule score search seek select
    send separate serialize serve set settle shade shape share shift shorten show shrink
    shuffle shut sign signal simplify simulate skip sleep smooth solve sort spawn spell
    split spread stack stage stamp start state step stop store stream stretch strip study
    submit subscribe substitute subtract suggest sum summarize supply suppress suspend swap
    switch synchronize synthesize tabulate tag terminate test throttle tie time toggle trace
    track train transfer transform translate transpose treat trim truncate try turn
    uncompress undo unite unpack unregister unsubscribe update upgrade upload use validate
    vary verify visit wait wake walk warn weigh weight widen withdraw wrap write yield zero
    zoom
    """,
    )
)
"""Verbs that a summary may begin with, in the imperative; vague ones (keep, take) are left out."""

IDIOM = re.compile(r"\b(told|untold|said|without a word|a word of)\b", re.IGNORECASE)
"""Words with several meanings each; publish, store, describe, report, show, state have one."""
IDENTIFIERS = re.compile(r"(?:^|_)(told|untold|said|taken|tell|say)(?:_|$)")
TEXTS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
CONTRACT = frozenset({"cover_told_share", '"told"', "tell"})
"""Names that stay: a key of run.toml, a table of the journal, Python's position in a file."""


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield each function that is not a property."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
            if not marks & {"property", "cached_property", "setter"}:
                yield node


def summaries(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and summary of each function whose summary does not begin with a verb."""
    for node in functions(ast.parse(text)):
        summary = (ast.get_docstring(node) or "").partition("\n")[0]
        first = re.match(r"[A-Za-z]+", summary)
        if summary and (not first or first[0].lower() not in VERBS):
            yield node.lineno, f"{node.name}: {summary!r} does not begin with a verb"


def idioms(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and phrase of each comment or string with such a word."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in TEXTS and token.string not in CONTRACT:
            for number, line in enumerate(token.string.splitlines(), token.start[0]):
                if found := IDIOM.search(line):
                    yield number, f"{found[0]!r} in {line.strip()!r}"


def identifiers(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of each identifier with such a word in it."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        is_name = token.type == tokenize.NAME and token.string not in CONTRACT
        if is_name and IDENTIFIERS.search(token.string.lower()):
            yield token.start[0], f"identifier {token.string}"


def pages() -> list[Path]:
    """List the Markdown pages of the project."""
    found = [ROOT / name for name in PROSE]
    return sorted({q for p in found for q in ([p] if p.is_file() else p.rglob("*.md"))})


def report(path: Path, checks: tuple) -> list[str]:
    """List `file:line: fault` of one source file."""
    text = path.read_text("utf-8")
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return [f"{name}:{line}: {what}" for check in checks for line, what in check(text)]


CHECKS = (summaries, idioms, identifiers)
MODULES = sorted(path for source in SOURCES for path in (ROOT / source).rglob("*.py"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_sources_use_plain_words(check):
    assert not [line for path in MODULES for line in report(path, (check,))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_uses_plain_words(page):
    lines = enumerate(page.read_text("utf-8").splitlines(), 1)
    assert not [f"{number}: {line}" for number, line in lines if IDIOM.search(line)]


def test_the_checks_notice_the_idiom():
    text = 'def told(x):\n    """What is told of x."""\n    return x  # said\n'
    assert [len(list(check(text))) for check in CHECKS] == [1, 2, 1]


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:] or SOURCES):
        for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
            for line in report(path.resolve(), CHECKS):
                sys.stdout.write(line + "\n")
