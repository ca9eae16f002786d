"""Imports go one way: a folder imports only folders further down in its package's table.

Every import counts, also one under TYPE_CHECKING and one inside a function.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

EDGE, HOST = "epithermal_edge", "epithermal_host"
LAYERS = {
    EDGE: """
        __main__
        cli
        page
        station
        ancillary
        mqtt  rollout
        journal
        messages
        config
        exports
        inference
        physics
        loggers  signatures
        site
        records  errors  times
    """,
    HOST: """
        __main__
        cli
        reports
        retraining  studies
        field
        evaluation
        bundles
        training
        simulation
        config  validation
        weather  soil  neutrons
        tables
        compute  rendering
        arrays  errors
    """,
}
LIBRARY = {  # of edge: all that host may import; the rest is the station's program
    *("exports", "inference", "physics", "loggers", "signatures", "site", "records", "errors"),
    *("times", "config.toml_keys", "config.biomass", "config.canopy"),
    *("config.location", "config.response_scale", "config.snow_table", "config.year_curve"),
}
EXPORTING = {  # folders whose __init__.py may import their own modules; all others import nothing
    (EDGE, "physics"): "the public formulas",
    (EDGE, "inference"): "Engine, start, advance, open_bundle",
}
FEWEST, MOST = 4, 14  # modules of a folder, __init__.py not counted
UNUSUAL = {  # folders with another number of modules, and why
    (EDGE, "page"): "most of the page is HTML, CSS and JavaScript",
    (EDGE, "signatures"): "a cipher and a file format",
    (HOST, "neutrons"): "one physical model, its compiled kernel, and the neutron monitors",
    (HOST, "rendering"): "one module for each medium",
}
LONGEST = 500  # lines of a file

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Import:
    """One imported module or name."""

    path: Path
    line: int
    source: str  # module that imports
    target: str  # module that is imported

    def __str__(self) -> str:
        return f"{shown(self.path)}:{self.line} imports {self.target}"


def shown(path: Path) -> str:
    """Return a path relative to the repository."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def modules_in(root: Path) -> dict[str, Path]:
    """Find the modules of both packages in a source tree, by full name; `__init__` is a module."""
    out = {}
    for package, half in ((EDGE, "edge"), (HOST, "host")):
        source = root / half / "src"
        for path in sorted((source / package).rglob("*.py")):
            out[".".join(path.relative_to(source).with_suffix("").parts)] = path
    return out


def imports_in(root: Path) -> list[Import]:
    """Find every import of a module of either package, anywhere in a file."""
    modules = modules_in(root)
    out = []
    for source, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for name in _imported(node, source):
                target = _module_of(name, modules)
                if target and target != source:
                    out.append(Import(path, node.lineno, source, target))
    return sorted(set(out), key=str)


def _imported(node: ast.AST, source: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = source.split(".")[: -node.level] if node.level else []
        module = ".".join([*above, *([node.module] if node.module else [])])
        yield from (f"{module}.{alias.name}" for alias in node.names)


def _module_of(name: str, modules: dict[str, Path]) -> str | None:
    """Reduce the dotted name of a module, or of something in it, to the module."""
    while name.startswith((EDGE, HOST)):
        for module in (name, f"{name}.__init__"):
            if module in modules:
                return module
        name = name.rpartition(".")[0]
    return None


def room(module: str) -> tuple[str, str]:
    """Split the name of a module into package, and folder or module directly under it."""
    package, _, rest = module.partition(".")
    return package, rest.partition(".")[0]


def levels(package: str) -> dict[str, int]:
    """Number the layers of a package's table, 0 at the bottom."""
    lines = [line.split() for line in LAYERS[package].split("\n") if line.strip()]
    return {name: number for number, line in enumerate(reversed(lines)) for name in line}


def wrong_directions(root: Path) -> list[str]:
    """Report imports of higher or equal layers, and folders missing from the table."""
    out = [
        f"{shown(path)}: {room(module)[1]} has no place in the table of {room(module)[0]}"
        for module, path in modules_in(root).items()
        if room(module)[1] not in {*levels(room(module)[0]), "__init__"}
    ]
    if out:
        return out
    for found in imports_in(root):
        (package, own), (other, theirs) = room(found.source), room(found.target)
        if package != other or own == theirs or theirs == "__init__":
            continue
        level = levels(package)
        if own == "__init__" or level[own] < level[theirs]:
            out.append(f"{found}: {own} stands below {theirs}")
        elif level[own] == level[theirs]:
            out.append(f"{found}: {own} and {theirs} are on the same layer")
    return out


def wrong_between_packages(root: Path) -> list[str]:
    """Report what edge imports from host, and what host imports from edge's program."""
    out = []
    for found in imports_in(root):
        (package, _), (other, theirs) = room(found.source), room(found.target)
        if (package, other) == (EDGE, HOST):
            out.append(f"{found}: edge does not know host")
        elif (package, other) == (HOST, EDGE):
            module = found.target.partition(".")[2]
            if not {theirs, module} & {*LIBRARY, "__init__"}:
                out.append(f"{found}: host imports edge's library only, not its {theirs}")
    return out


def circles(root: Path) -> list[str]:
    """Report each shortest way by which a module imports itself."""
    imports: dict[str, list[Import]] = {}
    for found in imports_in(root):
        imports.setdefault(found.source, []).append(found)
    ways = [way for source in sorted(imports) if (way := _way_back(source, imports))]
    each = {frozenset(step.source for step in way): way for way in reversed(ways)}
    return [f"{'; '.join(map(str, way))}: a circle" for way in reversed(each.values())]


def _way_back(start: str, imports: dict[str, list[Import]]) -> list[Import]:
    """Search breadth first for the shortest circle through a module; empty if there is none."""
    reached: dict[str, list[Import]] = {start: []}
    edge = [start]
    while edge:
        here = edge.pop(0)
        for found in imports.get(here, []):
            way = [*reached[here], found]
            if found.target == start:
                return way
            if found.target not in reached:
                reached[found.target] = way
                edge.append(found.target)
    return []


def busy_inits(root: Path) -> list[str]:
    """Report imports in the __init__.py of a folder, which cost every start of a station time."""
    out = []
    for module, path in modules_in(root).items():
        package, folder = room(module)
        if not module.endswith(".__init__") or folder == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for name in _imported(node, module):
                if name.startswith("__future__."):
                    continue
                at = f"{shown(path)}:{getattr(node, 'lineno', 0)} imports {name}"
                if (package, folder) not in EXPORTING:
                    out.append(f"{at}: the __init__.py of a folder imports nothing")
                elif (
                    not name.startswith(f"{package}.{folder}.")
                    and name.partition(".")[0] not in sys.stdlib_module_names
                ):
                    out.append(f"{at}: it exports names of its own folder only")
    return out


def closed_doors(root: Path) -> list[str]:
    """Report folders whose __init__.py has no docstring of three to six lines."""
    out = []
    for module, path in modules_in(root).items():
        if not module.endswith(".__init__") or room(module)[1] == "__init__":
            continue
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        lines = len(text.splitlines())
        if not 3 <= lines <= 6:
            out.append(f"{shown(path)}: {lines} lines of docstring, 3 to 6 are wanted")
    return out


def odd_sizes(root: Path) -> list[str]:
    """Report folders with too few or too many modules, and files that are too long."""
    sizes: dict[tuple[str, str], int] = {}
    out = []
    for module, path in modules_in(root).items():
        lines = len(path.read_text("utf-8").splitlines())
        if lines > LONGEST:
            out.append(f"{shown(path)}: {lines} lines, {LONGEST} are allowed")
        if module.count(".") > 1 and not module.endswith(".__init__"):
            sizes[room(module)] = sizes.get(room(module), 0) + 1
    for (package, folder), size in sizes.items():
        if not FEWEST <= size <= MOST and (package, folder) not in UNUSUAL:
            wanted = f"{FEWEST} to {MOST} are usual, or a reason in UNUSUAL"
            out.append(f"{package}/{folder}: {size} modules, {wanted}")
    return out


RULES = (wrong_directions, wrong_between_packages, circles, busy_inits, closed_doors, odd_sizes)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_packages_keep_the_rule(rule):
    faults = rule(ROOT)
    assert not faults, "\n" + "\n".join(faults)


def test_both_packages_are_read_and_every_folder_of_the_tables_exists():
    assert len(imports_in(ROOT)) > 1000
    for package in LAYERS:
        there = {room(module)[1] for module in modules_in(ROOT) if room(module)[0] == package}
        # times joins edge with the functions that edge and host share
        assert set(levels(package)) - there <= {"times"}


@pytest.mark.parametrize(("package", "folder"), [*EXPORTING, *UNUSUAL])
def test_an_exception_names_a_folder_that_exists(package, folder):
    assert (ROOT / package.removeprefix("epithermal_") / "src" / package / folder).is_dir()


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write modules, {"edge.physics.air": text}, into a small source tree."""
    for name, text in files.items():
        half, _, module = name.partition(".")
        path = root / half / "src" / f"epithermal_{half}" / f"{module.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


def only(faults: list[str]) -> str:
    assert len(faults) == 1, faults
    return faults[0]


DOWN = "from epithermal_host.evaluation.metrics import rms\n"
UP = "from epithermal_host.reports.page import Report"


def test_a_clean_tree_has_no_fault(tmp_path):
    files = {"host.reports.page": DOWN, "host.evaluation.metrics": "", "edge.records": ""}
    root = tree(tmp_path, files)
    assert not any(rule(root) for rule in RULES if rule is not odd_sizes)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{UP}\n", 1),
        ("import epithermal_host.reports.page\n", 1),
        (f"from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    {UP}\n", 4),
        (f"def f():\n    {UP}\n", 2),
        ("from epithermal_host.reports import (\n    page,\n)\n", 1),
        ("from ..reports import page\n", 1),
    ],
    ids=["plain", "import", "TYPE_CHECKING", "function", "module", "relative"],
)
def test_an_upward_import_is_reported_wherever_it_stands(tmp_path, text, line):
    root = tree(tmp_path, {"host.reports.page": "", "host.evaluation.metrics": text})
    fault = only(wrong_directions(root))
    assert fault.endswith("epithermal_host.reports.page: evaluation stands below reports")
    assert f"evaluation/metrics.py:{line} imports" in fault


def test_an_import_from_a_folder_on_the_same_layer_is_reported(tmp_path):
    text = "from epithermal_host.studies.demo import run\n"
    root = tree(tmp_path, {"host.studies.demo": "", "host.retraining.retrain": text})
    assert "retraining and studies are on the same layer" in only(wrong_directions(root))


def test_an_import_of_a_name_that_a_folder_exports_goes_up_too(tmp_path):
    text = "from epithermal_edge.inference import Engine\n"
    root = tree(tmp_path, {"edge.inference.__init__": "", "edge.physics.air": text})
    assert "imports epithermal_edge.inference.__init__" in only(wrong_directions(root))


def test_the_root_of_a_package_may_import_none_of_its_folders(tmp_path):
    root = tree(tmp_path, {"host.__init__": DOWN, "host.evaluation.metrics": ""})
    assert "__init__.py:1 imports" in only(wrong_directions(root))


def test_a_folder_without_a_place_in_the_table_is_reported(tmp_path):
    assert "attic has no place" in only(wrong_directions(tree(tmp_path, {"host.attic.old": ""})))


@pytest.mark.parametrize("module", ["station.daemon", "config.station_toml", "journal.rows"])
def test_host_may_not_import_the_program_of_edge(tmp_path, module):
    text = f"def f():\n    from epithermal_edge.{module} import x\n"
    root = tree(tmp_path, {f"edge.{module}": "", "host.cli.main": text})
    fault = only(wrong_between_packages(root))
    assert "cli/main.py:2 imports" in fault and "edge's library only" in fault


@pytest.mark.parametrize("module", ["physics.cosmic", "config.canopy", "records"])
def test_host_may_import_the_library_of_edge(tmp_path, module):
    text = f"from epithermal_edge.{module} import x\n"
    root = tree(tmp_path, {f"edge.{module}": "", "host.cli.main": text})
    assert wrong_between_packages(root) == []


def test_edge_may_not_import_host(tmp_path):
    text = f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {UP}\n"
    root = tree(tmp_path, {"host.reports.page": "", "edge.cli.main": text})
    assert "edge does not know host" in only(wrong_between_packages(root))


def test_a_circle_is_reported_once_with_each_of_its_imports(tmp_path):
    text = "def f():\n    from epithermal_host.soil.{} import x\n"
    ways = {"a": "b", "b": "c", "c": "a", "d": "a"}
    root = tree(tmp_path, {f"host.soil.{one}": text.format(two) for one, two in ways.items()})
    fault = only(circles(root))
    assert all(f"soil/{name}.py:2 imports" in fault for name in "abc") and "d.py" not in fault


def test_a_circle_of_two_under_type_checking_is_reported(tmp_path):
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import epithermal_host.soil.{}"
    root = tree(tmp_path, {"host.soil.a": text.format("b"), "host.soil.b": text.format("a")})
    assert only(circles(root)).endswith("a circle")


def test_an_init_that_imports_is_reported_but_where_it_exports(tmp_path):
    own = "from __future__ import annotations\nfrom epithermal_edge.{} import x\n"
    physics, loggers = "edge.physics.__init__", "edge.loggers.__init__"
    lazy = "from importlib import import_module\n"
    exporting = {physics: own.format("physics.air") + lazy, loggers: own.splitlines()[0]}
    root = tree(tmp_path, exporting)
    assert busy_inits(root) == []
    tree(root, {physics: own.format("site"), loggers: "import re\n"})
    faults = sorted(busy_inits(root))
    assert "loggers/__init__.py:1 imports re: the __init__.py of a folder imports" in faults[0]
    assert "physics/__init__.py:2 imports epithermal_edge.site.x: it exports" in faults[1]


@pytest.mark.parametrize(("lines", "closed"), [(0, True), (2, True), (3, False), (7, True)])
def test_a_folder_without_a_docstring_of_three_to_six_lines_is_reported(tmp_path, lines, closed):
    text = '"""' + "\n".join(["What for."] * lines) + '"""\n'
    assert len(closed_doors(tree(tmp_path, {"host.soil.__init__": text}))) == closed


def test_sizes_that_are_odd_are_reported(tmp_path):
    files = {f"host.soil.m{i}": "" for i in range(FEWEST - 1)}
    files |= {f"host.weather.m{i}": "" for i in range(MOST + 1)}
    files |= {f"host.field.m{i}": "x = 1\n" * LONGEST for i in range(FEWEST)}
    root = tree(tmp_path, {**files, "host.soil.__init__": ""})
    few, many = sorted(odd_sizes(root))
    assert few.startswith("epithermal_host/soil: 3 modules")
    assert many.startswith("epithermal_host/weather: 15 modules")
    tree(root, {"host.soil.m3": "", "host.field.m0": "x = 1\n" * (LONGEST + 1)})
    assert [fault for fault in odd_sizes(root) if fault != many] == [
        f"{root}/host/src/epithermal_host/field/m0.py: 501 lines, 500 are allowed"
    ]
