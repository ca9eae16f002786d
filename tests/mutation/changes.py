"""List the one-line changes of meaning of a Python source: what a test should notice."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

SWAPPED = {
    ast.Lt: ("<", "<=", ">"),
    ast.LtE: ("<=", "<", ">"),
    ast.Gt: (">", ">=", "<"),
    ast.GtE: (">=", ">", "<"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.Pow: ("**", "*"),
    ast.Mod: ("%", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
}
# calls whose first argument alone is a change of meaning
BOUNDS = {"abs", "max", "min", "maximum", "minimum", "fmax", "fmin", "clip", "sqrt", "sorted"}
LOGS = {"debug", "info", "warning", "error", "exception", "log"}
SKIPPED_ARGUMENTS = {
    "strict",
    "slots",
    "frozen",
    "dtype",
    "exc_info",
    "stacklevel",
}  # no change of meaning


@dataclass(frozen=True)
class Change:
    """A line of a file, and what becomes of it."""

    path: str
    line: int
    before: str
    after: str


def lines_that_mean(text: str) -> list[int]:
    """Return the numbers of the lines of the source `text` that may be changed."""
    return sorted(_listed(text)[1])


def changes(path: str, text: str, number: int) -> list[Change]:
    """Return every change of line `number` of the source `text`, without repetition.

    Docstrings, annotations, decorators, log calls and the texts of messages are left as they are.
    """
    dumped, by_line = _listed(text)
    lines = text.splitlines()
    old = lines[number - 1].encode()
    found = {}
    for begin, end, new in by_line.get(number, ()):
        after = (old[:begin] + new.encode() + old[end:]).decode()
        changed = "\n".join((*lines[: number - 1], after, *lines[number:])) + "\n"
        if after.strip() and _differs(dumped, changed):
            found[after] = Change(path, number, lines[number - 1].strip(), after.strip())
    return list(found.values())


def changed_source(text: str, change: Change) -> str:
    """Return the source `text` with the change; ValueError if its line is not there."""
    lines = text.splitlines()
    if lines[change.line - 1].strip() != change.before:
        raise ValueError(f"{change.path}:{change.line}: not {change.before!r}")
    old = lines[change.line - 1]
    lines[change.line - 1] = old[: len(old) - len(old.lstrip())] + change.after
    return "\n".join(lines) + "\n"


Edit = tuple[int, int, int, str]  # line, first byte, end byte, replacement


@lru_cache
def _listed(text: str) -> tuple[str, dict[int, list[tuple[int, int, str]]]]:
    """Return the dumped tree of a source, and of each line what may be replaced by what."""
    tree, lines = ast.parse(text), text.splitlines()
    by_line: dict[int, list[tuple[int, int, str]]] = {}
    for node in _meaningful(tree):
        for line, begin, end, new in _of_node(node, lines):
            by_line.setdefault(line, []).append((begin, end, new))
    return ast.dump(tree), by_line


def _differs(dumped: str, changed: str) -> bool:
    try:
        return ast.dump(ast.parse(changed)) != dumped
    except SyntaxError:
        return False


def _meaningful(node: ast.AST) -> Iterator[ast.AST]:
    """Walk the nodes whose change is a change of meaning."""
    if isinstance(node, ast.JoinedStr) or _is_log(node) or _is_type_checking(node):
        return
    yield node
    skipped = {"annotation", "returns", "decorator_list"}
    if isinstance(node, ast.Raise):
        skipped.add("exc")
    for name, value in ast.iter_fields(node):
        if name in skipped:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.keyword) and child.arg in SKIPPED_ARGUMENTS:
                continue
            if isinstance(child, ast.AST):
                yield from _meaningful(child)


def _is_log(node: ast.AST) -> bool:
    call = node.value if isinstance(node, ast.Expr) else node
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in LOGS
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id.lower() in ("log", "_log", "logger", "logging")
    )


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _of_node(node: ast.AST, lines: list[str]) -> Iterator[Edit]:
    if isinstance(node, ast.Compare):
        operands = [node.left, *node.comparators]
        for i, operator in enumerate(node.ops):
            yield from _swaps(operator, operands[i], operands[i + 1], lines)
    elif isinstance(node, ast.BinOp):
        yield from _swaps(node.op, node.left, node.right, lines)
    elif isinstance(node, ast.AugAssign):
        yield from _swaps(node.op, node.target, node.value, lines)
        yield from _replaced(node, "pass")
    elif isinstance(node, ast.BoolOp):
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from _swaps(node.op, left, right, lines)
        for value in node.values:
            yield from _replaced(node, f"({_text(value, lines)})")
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield from _replaced(node, f"({_text(node.operand, lines)})")
    elif isinstance(node, ast.Constant):
        for new in _constants(node.value):
            yield from _replaced(node, new)
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
        yield from _replaced(node.test, f"not ({_text(node.test, lines)})")
        yield from _replaced(node.test, "False")
    elif isinstance(node, ast.Call):
        yield from _of_call(node, lines)
    elif isinstance(node, (ast.Break, ast.Continue, ast.Raise)):
        yield from _replaced(node, "pass")
    elif isinstance(node, ast.Return) and node.value and ast.unparse(node.value) != "None":
        yield from _replaced(node, "return None")
    elif _acts(node):
        yield from _replaced(node, "pass")


def _acts(node: ast.AST) -> bool:
    """Return whether a statement only changes something: a call, a store into an object."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, (ast.Call, ast.Yield))
    return isinstance(node, ast.Assign) and not isinstance(node.targets[0], (ast.Name, ast.Tuple))


def _of_call(node: ast.Call, lines: list[str]) -> Iterator[Edit]:
    """Yield the first argument in place of a bound, and the call without one of its options."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
    if name in BOUNDS and node.args:
        yield from _replaced(node, f"({_text(node.args[0], lines)})")
    for option in node.keywords:
        if (
            option.arg
            and option.arg not in SKIPPED_ARGUMENTS
            and option.lineno == option.end_lineno
        ):
            end = option.end_col_offset or 0
            rest = lines[option.lineno - 1].encode()[end:]
            more = len(rest) - len(rest.lstrip(b", "))
            yield option.lineno, option.col_offset, end + more, ""


def _constants(value: object) -> Iterator[str]:
    if isinstance(value, bool):
        yield str(not value)
    elif isinstance(value, int):
        yield str(value + 1)
    elif isinstance(value, float):
        yield repr(value * 1.1) if value else "1.0"


def _swaps(operator: ast.AST, left: ast.expr, right: ast.expr, lines: list[str]) -> Iterator[Edit]:
    """Replace an operator, which stands between its operands on one line."""
    old, *others = SWAPPED.get(type(operator), ("",))
    line, begin, end = left.end_lineno, left.end_col_offset or 0, right.col_offset
    if line is None or right.lineno != line:
        return
    between = lines[line - 1].encode()[begin:end].decode()
    if old and between.count(old) == 1:
        for new in others:
            yield line, begin, end, between.replace(old, new)


def _text(node: ast.expr, lines: list[str]) -> str:
    if node.lineno != node.end_lineno:
        return ast.unparse(node)
    return lines[node.lineno - 1].encode()[node.col_offset : node.end_col_offset].decode()


def _replaced(node: ast.AST, new: str) -> Iterator[Edit]:
    line = getattr(node, "lineno", 0)
    if line and node.end_lineno == line:  # type: ignore[attr-defined]
        yield line, node.col_offset, node.end_col_offset, new  # type: ignore[attr-defined]
