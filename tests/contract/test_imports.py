"""No module of the station imports the host or a heavy package."""

import ast
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import epithermal_edge
from epithermal_edge import physics

EDGE = Path(epithermal_edge.__file__).parent
MODULES = sorted(
    module.name.partition(".")[2]
    for module in pkgutil.walk_packages([str(EDGE)], "epithermal_edge.")
    if not module.name.endswith("__main__")
)
HEAVY = {
    *("epithermal_host", "tensorflow", "keras", "pandas", "scipy", "numba", "xarray"),
    *("matplotlib", "pydantic", "requests", "jax", "torch"),
}
ALLOWED = {"numpy", "serial", "paho", "tflite_runtime", "ai_edge_litert", "cryptography"}
LAZY = {"serial", "paho", "tflite_runtime", "ai_edge_litert", "cryptography", "_cffi_backend"}

FRESH = """
import importlib, json, sys
importlib.import_module("epithermal_edge." + sys.argv[1])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def loaded_by(module):
    done = subprocess.run(
        [sys.executable, "-c", FRESH, module],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "module",
    [
        "station.daemon",
        "cli.main",
        "cli.replay",
        "cli.check",
        "cli.selftest",
        "cli.simulator",
    ],
)
def test_a_fresh_interpreter_loads_nothing_heavy_and_no_driver_before_it_is_used(module):
    loaded = loaded_by(module)
    assert not loaded & HEAVY
    assert not loaded & LAZY


def test_all_modules_together_load_nothing_heavy():
    code = FRESH.replace('"epithermal_edge." + sys.argv[1]', '"epithermal_edge." + name')
    code = code.replace(
        "importlib.import_module", "for name in sys.argv[1].split(): importlib.import_module"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, " ".join(MODULES)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert not set(json.loads(done.stdout)) & HEAVY


def imports_of(path):
    """Yield the top-level packages that a module imports anywhere in its source."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: import by full name"
            yield str(node.module).partition(".")[0]


@pytest.mark.parametrize("path", sorted(EDGE.rglob("*.py")), ids=lambda path: path.name)
def test_a_module_imports_only_itself_the_standard_library_and_what_edge_may_bring(path):
    foreign = (
        set(imports_of(path)) - set(sys.stdlib_module_names) - {"epithermal_edge", "__future__"}
    )
    assert foreign <= ALLOWED


@pytest.mark.parametrize("module", ["cli.main", "station.status", "physics", "inference"])
def test_what_must_start_at_once_does_not_load_numpy(module):
    assert "numpy" not in loaded_by(module)


def test_the_physics_exports_every_public_formula():
    formulas = {}
    for name in physics.MODULES:
        for node in ast.parse((EDGE / "physics" / f"{name}.py").read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                formulas[node.name] = f"epithermal_edge.physics.{name}"
    assert set(physics.MODULES) == {p.stem for p in (EDGE / "physics").glob("[a-z]*.py")}
    assert physics.__all__ == sorted(formulas)
    for name, module in formulas.items():
        assert getattr(physics, name).__module__ == module


FOLDERS = sorted(path.parent for path in EDGE.glob("*/__init__.py"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_states_its_purpose_and_the_file_to_open(folder):
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
    assert re.search(r"^In: .*\sOut:\s", text, re.M | re.S)
    assert 3 <= len([line for line in text.splitlines() if line]) <= 6
    named = [*re.findall(r"Open `(\w+)`", text), *re.findall(r"open: (\w+)\.py", text)]
    assert named and all((folder / f"{name}.py").exists() for name in named)


def test_the_host_knows_the_edge_only_by_its_public_names():
    host = EDGE.parents[2] / "host" / "src" / "epithermal_host"
    if not host.is_dir():
        pytest.skip("only the station's half is here")
    for path in host.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("epithermal_edge"):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert not private, f"{path.name} imports {private}"
