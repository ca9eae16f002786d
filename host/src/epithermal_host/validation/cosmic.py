"""Compare COSMIC with vectors of published implementations."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_host.neutrons import cosmic

EXACT, FAST, D86_MM = 1e-6, 1e-3, 1.0  # limits, relative for both rules


@dataclass(frozen=True, slots=True)
class Row:
    """Largest differences over the vectors of one kind, relative for both rules."""

    kind: str
    count: int
    exact: float
    fast: float
    d86_mm: float
    worst: str  # id of the vector with the largest difference by the exact rule

    @property
    def passed(self) -> bool:
        """True within the three limits."""
        return self.exact <= EXACT and self.fast <= FAST and self.d86_mm <= D86_MM


def read_vectors(vectors: Path, profiles: Path) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Read the row of each vector and its arguments of `cosmic.neutron_rate`.

    Raises
    ------
    ConfigError
        A file is missing or damaged; one line that names it.
    """
    layers: dict[str, list[tuple[float, float]]] = {}
    for number, row in enumerate(_rows(profiles), 2):
        try:
            layer = float(row["bottom_cm"]), float(row["theta_m3_m3"])
            layers.setdefault(row["id"], []).append(layer)
        except (KeyError, ValueError, TypeError) as error:
            raise ConfigError(f"{profiles}:{number}: {error!r}") from error
    cases = []
    for number, row in enumerate(_rows(vectors), 2):
        try:
            cases.append((row, _arguments(row, layers[row["id"]])))
        except (KeyError, ValueError, TypeError) as error:
            raise ConfigError(f"{vectors}:{number}: {error!r}") from error
    if not cases:
        raise ConfigError(f"{vectors}: no rows")
    return cases


def validate_cosmic(vectors: Path, profiles: Path) -> list[Row]:
    """Compare the exact rule, the fast path and D86, by kind of vector.

    Raises
    ------
    ConfigError
        A file is missing or damaged.
    """
    kinds: dict[str, list[tuple[str, float, float, float]]] = {}
    for row, arguments in read_vectors(vectors, profiles):
        try:
            differences = _differences(row, arguments)
        except (KeyError, ValueError) as error:
            raise ConfigError(f"{vectors}: id {row['id']}: {error}") from error
        kinds.setdefault(row.get("kind", "all"), []).append((row["id"], *differences))
    rows = []
    for kind, of_kind in kinds.items():
        values = np.array([differences for _, *differences in of_kind])
        worst = values.max(axis=0)
        worst_id = of_kind[int(values[:, 0].argmax())][0]
        exact, fast, d86_mm = (float(value) for value in worst)
        rows.append(Row(kind, len(of_kind), exact, fast, d86_mm, worst_id))
    return rows


def _differences(row: Mapping[str, str], arguments: dict[str, Any]) -> tuple[float, float, float]:
    printed, n = float(row["neutron_count"]), float(row["N_high_energy"])
    exact = float(cosmic.neutron_rate(**arguments, n_cph=n, rule="exact"))
    fast = float(cosmic.neutron_rate(**arguments, n_cph=n))
    d86_mm = 10.0 * float(cosmic.effective_depth(**arguments, rule="exact"))
    return abs(exact / printed - 1.0), abs(fast / printed - 1.0), abs(d86_mm - float(row["d86_mm"]))


def _arguments(row: Mapping[str, str], layers: list[tuple[float, float]]) -> dict[str, Any]:
    bottom, theta = np.array(layers).T
    return {
        "bottom_cm": bottom,
        "theta": theta,
        "bulk_density_g_cm3": float(row["bulk_density_g_cm3"]),
        "lattice_water_m3_m3": float(row["lattice_water_m3_m3"]),
        "alpha": float(row["alpha"]),
        "l3_g_cm2": float(row["L3_g_cm2"]),
        "l1_l2_l4_g_cm2": tuple(float(row[f"L{i}_g_cm2"]) for i in (1, 2, 4)),
    }


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            return list(csv.DictReader(lines))
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


HEADER = "kind               count   exact rule    fast path   D86 [mm]"


def line(row: Row) -> str:
    """Format a row of the table."""
    verdict = "ok" if row.passed else f"MISSED (id {row.worst})"
    return (
        f"{row.kind:<18} {row.count:5d} {row.exact:12.1e} {row.fast:12.1e} {row.d86_mm:10.2f}  "
        f"{verdict}"
    )
