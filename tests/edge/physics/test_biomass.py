"""Biomass reduces the counts by published slopes, and is looked up at each record's time."""

from __future__ import annotations

import datetime
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from epithermal_edge.physics.corrections import (
    BIOMASS_SLOPES,
    BiomassForm,
    biomass_at,
    biomass_factor,
    form_of_slope,
)
from epithermal_edge.site import Site

SITE = Site(600.0, 1.4)
YEAR = tuple(float(day) for day in range(1, 367))
ROOT = Path(__file__).parents[3]


def utc_s(*when: int) -> float:
    return datetime.datetime(*when, tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize(
    ("form", "biomass_kg_m2", "left"),
    [
        ("baatz2015", 1.0, 0.991),  # abstract: 0.9 % for 1 kg of dry matter a m2 ...
        ("baatz2015_bwe", 2.0, 0.991),  # ... or for 2 kg of biomass water equivalent
        ("morris2024", 1.0, 0.990),
    ],
)
def test_each_form_leaves_the_published_share_of_the_counts(form, biomass_kg_m2, left):
    factor = biomass_factor(biomass_kg_m2, BIOMASS_SLOPES[form].per_mm)
    assert 1.0 / factor == pytest.approx(left, abs=1e-12)
    assert form_of_slope(BIOMASS_SLOPES[form].per_mm) == form


def test_every_form_is_described_on_the_page_of_equations():
    assert set(BIOMASS_SLOPES) == set(get_args(BiomassForm))
    page = (ROOT / "docs/equations.md").read_text("utf-8")
    for name, slope in BIOMASS_SLOPES.items():
        assert re.search(rf"{name} +s = {slope.per_mm:g}\b", page), name
    assert form_of_slope(0.007) is None and form_of_slope(0.0) is None


def test_a_record_has_the_biomass_of_the_day_that_it_ends_in():
    site = replace(SITE, biomass_kg_m2=YEAR)
    ends = [utc_s(2023, 1, 1, 1), utc_s(2023, 1, 2), utc_s(2023, 1, 2, 0, 0, 1)]
    ends += [utc_s(2023, 12, 31, 12), utc_s(2024, 12, 31, 12), utc_s(2025, 1, 1)]
    found = biomass_at(site, np.array(ends))
    assert found[:, 0].tolist() == [1.0, 1.0, 2.0, 365.0, 366.0, 366.0]


def test_one_number_holds_for_all_records_and_each_site_may_have_its_own():
    end_s = np.array([utc_s(2023, 7, 1), utc_s(2023, 8, 1)])
    assert biomass_at(replace(SITE, biomass_kg_m2=3.0), end_s) == 3.0
    many = np.linspace(0.0, 5.0, 366)  # sites, not days
    assert np.array_equal(biomass_at(replace(SITE, biomass_kg_m2=many), end_s), many)
    by_day = np.stack([np.array(YEAR), 2.0 * np.array(YEAR)])
    found = biomass_at(replace(SITE, biomass_kg_m2=by_day), end_s)
    assert found.tolist() == [[181.0, 362.0], [212.0, 424.0]]


def test_a_measured_biomass_replaces_that_of_the_site_where_it_is_known():
    site = replace(SITE, biomass_kg_m2=YEAR)
    end_s = np.array([utc_s(2023, 1, 2), utc_s(2023, 1, 3)])
    assert biomass_at(site, end_s, [[7.5], [np.nan]]).tolist() == [[7.5], [2.0]]
