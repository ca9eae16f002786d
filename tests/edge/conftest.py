"""Fixtures of the edge tests."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Table = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def corrections_table(shared: Path) -> Callable[[str], Table]:
    """Read one table of ../shared/reference/corrections: column name to numbers, or to words."""

    def read(name: str) -> Table:
        with (shared / "reference" / "corrections" / name).open(newline="") as file:
            header, *rows = csv.reader(file)
        columns = {}
        for title, values in zip(header, zip(*rows, strict=True), strict=True):
            try:
                columns[title] = np.array([float(v) if v else np.nan for v in values])
            except ValueError:
                columns[title] = np.array(values)
        return columns

    return read


@pytest.fixture(scope="session")
def agrees() -> Callable[..., None]:
    """Hold numbers to a printed column; 1e-13 is what rounding leaves of 16 printed digits."""

    def check(
        ours: np.ndarray, printed: np.ndarray, rtol: float = 1e-13, atol: float = 1e-15
    ) -> None:
        np.testing.assert_allclose(ours, printed, rtol=rtol, atol=atol, equal_nan=True)

    return check
