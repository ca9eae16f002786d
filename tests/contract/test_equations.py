"""The page of equations names functions that exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "equations.md"
MODULES = (
    *("atmosphere", "corrections", "cosmic", "cutoff", "desilets", "footprint"),
    *("neutron_monitors", "plant_water", "response", "texture", "uts", "uts_inverse"),
)


def test_every_function_on_the_page_of_equations_exists():
    named = set(re.findall(rf"\b({'|'.join(MODULES)})\.([A-Za-z_0-9]+)", PAGE.read_text()))
    assert len(named) > 25
    for module, name in sorted(named):
        assert hasattr(importlib.import_module(f"epithermal_edge.physics.{module}"), name), (
            module,
            name,
        )


def test_every_public_formula_of_the_edge_is_on_the_page_of_equations():
    page = PAGE.read_text()
    for module in MODULES:
        members = vars(importlib.import_module(f"epithermal_edge.physics.{module}"))
        for name, member in members.items():
            if callable(member) and member.__module__ == f"epithermal_edge.physics.{module}":
                private = name.startswith("_") or isinstance(member, type)
                assert private or f"{module}.{name}" in page, f"{module}.{name}"
