"""False alarms and misses by hand, the true need of a known profile, and a site from end to end."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from epithermal_host.bundles.streams import open_verified
from epithermal_host.config.run_toml import CampaignConfig
from epithermal_host.evaluation import irrigation_advice as judged
from epithermal_host.evaluation.irrigation_advice import Season
from epithermal_host.simulation.simulate import simulate

BUNDLE = Path(__file__).resolve().parents[3] / "models" / "rootzone-1.0.0"


def season(need, advice, unknown=()):
    days = len(need)
    values = np.array([float(c == "x") for c in advice])
    values[list(unknown)] = np.nan
    return Season(
        need=np.array([c == "x" for c in need]),
        judged=np.ones(days, dtype=bool),
        advice={"a": values},
        inside={"a": np.array([1.0] * (days - 1) + [0.0])},
    )


def test_alarms_and_misses_are_counted_in_spells_and_in_days():
    found = judged.score("a", [season("xx........xx........", "..x.............xx.x")])
    # the second need has no advice nearby, the second alarm (with one day's pause) no need
    assert (found.needs, found.false_alarms, found.misses) == (2, 1, 1)
    assert (found.false_days, found.missed_days) == (4, 4)
    assert found.coverage == pytest.approx(19 / 20)


def test_days_without_advice_are_neither_right_nor_wrong():
    found = judged.score("a", [season("xxxx......", "..........", unknown=range(4))])
    assert (found.needs, found.misses, found.missed_days) == (0, 0, 0)


def test_figures_are_those_of_a_season():
    one, other = season("x.........", ".........."), season("..........", "..........")
    assert judged.score("a", [one, other]).misses == 0.5


def test_the_need_is_that_of_the_true_soil_and_its_true_roots():
    scenario = judged.maize_site(1, 0)
    result = simulate(scenario, CampaignConfig(1, 1, years=1))
    wet, dry = judged._limits(scenario.soils)
    material = scenario.grid().material
    for share, expected in ((0.05, False), (0.95, True)):
        theta = np.array(wet) - share * (np.array(wet) - np.array(dry))
        flat = np.broadcast_to(theta[material], result.theta.shape)
        needed = judged.need(scenario, dataclasses.replace(result, theta=flat))
        assert (needed == expected).all()


@pytest.fixture(scope="module")
def one():
    model = open_verified(BUNDLE, None)
    (found,) = judged.simulate_seasons(model.bundle, model.step, 1, 1)
    return found


def test_a_station_advises_in_every_way_over_a_simulated_season(one):
    assert tuple(one.advice) == judged.WAYS
    assert 95 <= one.judged.sum() <= 110
    known = one.judged & np.isfinite(one.advice[judged.ROOTS])
    assert known.sum() > 80
    # who wants more certainty irrigates on some of the same days
    careful, plain = one.advice[judged.CAREFUL], one.advice[judged.ROOTS]
    assert not ((careful == 1.0) & (plain == 0.0)).any()


def test_the_table_has_a_row_for_every_way(one):
    text = judged.table({name: judged.score(name, [one]) for name in one.advice})
    assert len(text.splitlines()) == 2 + len(one.advice)
