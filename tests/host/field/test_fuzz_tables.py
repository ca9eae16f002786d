"""Changed tables of real sites are refused, give the same N, or are noted: the short form."""

from __future__ import annotations

import pytest
from tests.field import fuzz_tables
from tests.field.fuzz_mutations import KINDS
from tests.field.fuzz_sites import NAMES


def test_no_change_of_a_real_sites_tables_is_silent(shared, monkeypatch):
    monkeypatch.setenv("EPITHERMAL_SHARED", str(shared))
    try:
        results = fuzz_tables.run(len(NAMES) * len(KINDS), seed=5)
    except FileNotFoundError as error:
        pytest.skip(f"no data of {', '.join(NAMES)}: {error}")
    assert len(results) == len(NAMES) * len(KINDS)
    assert [r for r in results if r.outcome in fuzz_tables.FAULTS] == []
    assert {r.kind for r in results} == set(KINDS)
