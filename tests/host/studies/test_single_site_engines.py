"""An irrigated maize field on three layers: our solver beside HYDRUS-1D."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from epithermal_host.simulation.irrigation import add_water, irrigate
from epithermal_host.simulation.simulate import column, forcing, weather_of
from epithermal_host.soil import hydrus, richards
from epithermal_host.soil.hydrus_input import Settings
from epithermal_host.soil.profile import mean_theta
from epithermal_host.studies.single_site_place import scenario
from epithermal_host.studies.single_site_toml import read_study
from epithermal_host.validation.columns import FLUX_CM, FLUX_SHARE, MEAN_RMSE, THETA_RMSE

MAIZE = Path(__file__).parents[3] / "host" / "campaigns" / "maize-study.toml"
DAYS = 730
FLUXES = ("infiltration", "evaporation", "transpiration", "runoff", "drainage", "storage")


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def test_the_example_has_three_layers_maize_and_a_threshold_of_irrigation():
    place, _ = read_study(MAIZE)
    assert len(place.soils) == 3 and place.cover.kind == "crop" and not place.roots_grow
    assert place.irrigation is not None and place.irrigation.depletion == 0.5


@pytest.mark.hydrus
def test_three_irrigated_layers_agree_with_hydrus_within_the_limits_of_validate():
    if hydrus.EXECUTABLE_VARIABLE not in os.environ:
        pytest.skip(f"no HYDRUS-1D: set {hydrus.EXECUTABLE_VARIABLE}")
    place, _ = read_study(MAIZE)
    field, campaign = scenario(place, place.soils), place.config.campaign
    natural = weather_of(field, campaign)
    weather = add_water(natural, irrigate(field, natural, campaign, place.irrigation))
    names = ("end_d", "rain_cm_d", "pot_evaporation_cm_d", "pot_transpiration_cm_d")
    whole = forcing(field, weather)
    first = richards.Forcing(*(np.asarray(getattr(whole, name))[:DAYS] for name in names))
    own = richards.solve(column(field), first)
    exact = Settings(dt_max_d=0.02, tol_theta=1e-5, tol_h_cm=0.01, tables=False)
    theirs = hydrus.solve(column(field), first, settings=exact)
    assert rms(own.theta - theirs.theta) < THETA_RMSE
    mean = [mean_theta(p.z_cm, p.theta) for p in (own, theirs)]
    assert rms(mean[0] - mean[1]) < MEAN_RMSE
    for name in FLUXES:
        a, b = (float(getattr(p, f"{name}_cm")[-1]) for p in (own, theirs))
        assert abs(a - b) < max(FLUX_SHARE * abs(b), FLUX_CM), name
