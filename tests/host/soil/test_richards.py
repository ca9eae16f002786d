"""The Richards solver against HYDRUS-1D, closed solutions, and the balance of water."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from epithermal_host.errors import SolverError
from epithermal_host.soil import richards, richards_kernel, richards_newton, richards_time
from epithermal_host.soil.hydraulics import CATALOGUE
from epithermal_host.soil.profile import Grid, graded_grid, root_density
from epithermal_host.soil.richards import Column, Feddes, Forcing, solve
from epithermal_host.soil.richards_table import decay, soil_table
from epithermal_host.validation.columns import validate_case
from epithermal_host.validation.hydrus_cases import read_case

DAYS = np.arange(1.0, 366.0)


def column(soil: str = "loam", nodes: int = 61, **options) -> Column:
    """A column of 1 m, dense at the surface."""
    grid = options.pop("grid", graded_grid(100.0, nodes, 0.5))
    return Column((CATALOGUE[soil],), grid, **options)


def year_of_weather(seed: int = 1) -> dict[str, np.ndarray]:
    """Showers on a third of the days, evaporation and transpiration on all."""
    rng = np.random.default_rng(seed)
    return {
        "rain_cm_d": rng.gamma(0.7, 0.9, DAYS.size) * (rng.random(DAYS.size) < 0.33),
        "pot_evaporation_cm_d": rng.uniform(0.0, 0.3, DAYS.size),
        "pot_transpiration_cm_d": rng.uniform(0.0, 0.4, DAYS.size),
    }


# One of each kind; `epithermal-host validate hydrus1d` runs them all.
@pytest.mark.parametrize(
    "run",
    [
        "a01_sand_bare_1y",  # evaporation limited by hCritA
        "a04_loam_bare_1y",
        "a11_silty_clay_bare_1y",  # air entry, runoff
        "b02_sandy_loam_bare_3y",
        "c01_sandy_loam_grass_1y",  # roots
        "c05_silt_loam_grass_hupsel",
        "d02_sandy_loam_over_clay_loam_1y",  # layers
        "e01_storms_dry_clay",
        "e05_drying_clay",
        "f01_infiltration_celia",  # given heads
        "g01_loam_uniform1cm_1y",
        "g03_loam_fine_1y",
    ],
)
def test_a_column_agrees_with_converged_hydrus_on_its_grid(shared, run):
    row = validate_case(shared / "reference" / "hydrus1d" / run, repeats=1)
    assert row.passed, row.note
    assert row.forced_steps == 0


def test_the_error_falls_with_the_tolerance(shared):
    case = read_case(shared / "reference" / "hydrus1d" / "f01_infiltration_celia")
    truth = case.converged.theta
    errors = [
        np.sqrt(
            np.mean((solve(case.column, case.forcing, tolerance=tol).theta[1:] - truth[1:]) ** 2)
        )
        for tol in (3e-2, 3e-3, 3e-4)
    ]
    assert errors[0] > 5 * errors[1] > 10 * errors[2]
    assert errors[2] < 2e-5


@pytest.mark.parametrize("soil", ["sand", "loam", "clay"])
@pytest.mark.parametrize("roots", [False, True])
def test_a_year_of_water_is_accounted_for(soil, roots):
    weather = year_of_weather()
    grid = graded_grid(100.0, 61, 0.5)
    grid = replace(grid, root=root_density(grid.z_cm, 60.0))
    if not roots:
        weather["pot_transpiration_cm_d"] = np.zeros(DAYS.size)
    profile = solve(
        column(soil, grid=grid, feddes=Feddes() if roots else None), Forcing(DAYS, **weather)
    )
    assert np.abs(profile.balance_error_cm).max() < 1e-9
    rain = np.append(0.0, np.cumsum(weather["rain_cm_d"]))
    np.testing.assert_allclose(profile.infiltration_cm + profile.runoff_cm, rain, atol=1e-9)
    asked = np.cumsum(weather["pot_evaporation_cm_d"])
    assert np.all(profile.evaporation_cm[1:] <= asked + 1e-9)
    assert np.all(np.diff(profile.transpiration_cm) >= -1e-9)
    assert (profile.transpiration_cm[-1] > 1.0) == roots
    soil_of = CATALOGUE[soil]
    assert np.all(profile.theta > soil_of.theta_r - 2e-3)
    assert np.all(profile.theta < soil_of.theta_s + 2e-3)
    assert profile.forced_steps == 0


def test_a_closed_column_comes_to_rest_with_equal_hydraulic_head():
    grid = graded_grid(100.0, 51, 2.0)
    start = -200.0 + grid.z_cm  # wetter below
    profile = solve(
        column("sandy_loam", grid=grid, h_initial_cm=start * 1.5, top="flux", bottom="no_flux"),
        Forcing(np.linspace(50.0, 20000.0, 400)),
    )
    head = profile.h_cm[-1] - grid.z_cm
    assert np.ptp(head) < 0.5
    assert profile.storage_cm[-1] == pytest.approx(profile.storage_cm[0], abs=1e-10)


def test_steady_rain_drains_where_conductivity_equals_it():
    profile = solve(column("loam", h_initial_cm=-100.0), Forcing(DAYS, rain_cm_d=1.0))
    # arithmetic mean of K in the last node gives unit gradient exactly
    np.testing.assert_allclose(CATALOGUE["loam"].k(profile.h_cm[-1]), 1.0, rtol=1e-3)
    assert profile.drainage_cm[-1] - profile.drainage_cm[-2] == pytest.approx(1.0, abs=1e-4)


def test_a_water_table_holds_the_column_above_it():
    grid = graded_grid(100.0, 51, 2.0)
    profile = solve(
        column("sandy_loam", grid=grid, bottom="head", bottom_head_cm=0.0),
        Forcing(np.linspace(20.0, 4000.0, 200)),
    )
    np.testing.assert_allclose(profile.h_cm[-1], grid.z_cm - 100.0, atol=0.5)
    assert profile.drainage_cm[-1] < 0.0  # it fed the column
    assert np.abs(profile.balance_error_cm).max() < 1e-9


def test_saturated_soil_under_a_film_of_water_takes_up_its_conductivity():
    profile = solve(
        column("loam", h_initial_cm=-50.0, top="head"),
        Forcing(np.arange(0.5, 10.1, 0.5), top_head_cm=0.0),
    )
    rate = np.diff(profile.infiltration_cm)[-1] / 0.5
    assert rate == pytest.approx(CATALOGUE["loam"].ks_cm_d, rel=1e-3)


def test_a_storm_beyond_conductivity_runs_off_and_the_rest_infiltrates():
    end = np.arange(1.0, 11.0)
    rain = np.where(end == 3.0, 20.0, 0.0)
    profile = solve(column("clay", h_initial_cm=-1000.0), Forcing(end, rain_cm_d=rain))
    assert profile.runoff_cm[-1] > 5.0
    assert profile.runoff_cm[-1] + profile.infiltration_cm[-1] == pytest.approx(20.0)
    assert profile.h_cm[3, 0] == pytest.approx(0.0, abs=1e-6)


def test_a_dry_surface_stays_at_hcrit_and_gives_less_than_asked():
    profile = solve(column("loam", hcrit_cm=-8000.0), Forcing(DAYS[:60], pot_evaporation_cm_d=0.6))
    assert profile.h_cm[-1, 0] == pytest.approx(-8000.0)
    assert 0.5 < profile.evaporation_cm[-1] < 0.3 * 36.0


def test_finer_records_of_the_same_weather_change_little():
    weather = {name: rate[:60] for name, rate in year_of_weather(2).items()}
    weather["pot_transpiration_cm_d"][:] = 0.0
    daily = solve(column(), Forcing(DAYS[:60], **weather))
    hourly = {name: np.repeat(rate, 24) for name, rate in weather.items()}
    fine = solve(column(), Forcing(np.arange(1, 60 * 24 + 1) / 24.0, **hourly))
    np.testing.assert_allclose(fine.theta[::24, :30], daily.theta[:, :30], atol=0.01)
    assert np.abs(fine.theta[::24] - daily.theta).mean() < 3e-4


def test_roots_that_grow_take_water_from_deeper():
    grid = graded_grid(100.0, 51, 1.0)
    depth = np.linspace(10.0, 80.0, DAYS.size)
    density = np.stack([root_density(grid.z_cm, d) for d in depth])
    forcing = Forcing(DAYS, pot_transpiration_cm_d=0.2, root_density=density)
    growing = solve(column("loam", grid=grid, feddes=Feddes()), forcing)
    fixed = solve(
        column("loam", grid=replace(grid, root=density[0]), feddes=Feddes()),
        replace(forcing, root_density=None),
    )
    deep = np.searchsorted(grid.z_cm, 60.0)
    assert growing.theta[-1, deep] < fixed.theta[-1, deep] - 0.02
    assert growing.transpiration_cm[-1] > fixed.transpiration_cm[-1] + 1.0


def test_coarse_soil_that_roots_have_emptied_does_not_stop():
    soil = replace(CATALOGUE["sand"], alpha_per_cm=0.15, n=2.45, ks_cm_d=716.0)
    grid = graded_grid(120.0, 41, 0.5, root=np.linspace(1.0, 0.0, 41))
    weather = year_of_weather(3)
    weather["rain_cm_d"] *= 0.2
    profile = solve(Column((soil,), grid, feddes=Feddes()), Forcing(DAYS, **weather))
    assert profile.steps < 10000
    assert np.abs(profile.balance_error_cm).max() < 1e-9


def test_a_column_that_cannot_be_solved_is_an_error_and_gives_no_profile():
    with pytest.raises(SolverError, match="no convergence with a step of 1e-09 d") as failed:
        solve(column(), Forcing(np.array([10.0, 20.0]), rain_cm_d=0.5), tolerance=1e-15)
    assert 0.0 < failed.value.day < 1.0


def test_a_record_of_more_steps_than_allowed_is_an_error_with_the_day_that_was_reached():
    at_rest = column("sandy_loam", 11, top="flux", bottom="no_flux")
    days = richards_time.STEPS_A_RECORD * richards_time.DT_MAX_D
    with pytest.raises(SolverError, match="more than 20000 steps in a record") as failed:
        solve(at_rest, Forcing(np.array([days + 10.0])))
    assert days - 10.0 < failed.value.day <= days


def test_a_step_that_is_forced_loses_no_water():
    rain = np.array([0.0, 500.0, 0.0])
    profile = solve(column("sand", 31, h_initial_cm=-1000.0), Forcing(DAYS[:3], rain_cm_d=rain))
    assert profile.forced_steps > 0
    assert np.abs(profile.balance_error_cm).max() < 1e-9


def kernel_of(nodes: int, rain_cm_d: float) -> tuple:
    """Build workspace, table and parameters of a bare loam at -200 cm, as `solve` does."""
    own, h = column("loam", nodes, h_initial_cm=-200.0), np.full(nodes, -200.0)
    work = richards._work(own, h, CATALOGUE["loam"].theta(h))
    p = richards._parameters(own, Forcing(DAYS[:1], rain_cm_d=rain_cm_d), work)
    table = soil_table(CATALOGUE["loam"]).ravel()
    richards_time.restore(work, table, decay(), p, np.zeros(nodes), nodes, 0.0)
    return work, table, p


def field(work: np.ndarray, first: int, nodes: int) -> np.ndarray:
    """View a field of the kernel's workspace."""
    return work[first : first + nodes]


def test_a_forced_step_is_the_balance_of_its_fluxes_and_reports_its_distance_from_the_curve():
    work, _, p = kernel_of(31, rain_cm_d=2.0)
    flux, rate = np.zeros((2, 4)), 1.0 / (richards_kernel.GAMMA * 1e-3)
    worst = richards_newton.force(work, p, 31, rate, 2.0, richards_kernel.FLUX, flux, 0)
    names = ("TH_LIN", "TH_STAR", "TH", "W")
    theta, start, curve, width = (field(work, getattr(richards_kernel, n), 31) for n in names)
    stored = width @ (theta - start)
    top, bottom = flux[0, richards_kernel.TOP], flux[0, richards_kernel.BOTTOM]
    assert top == 2.0 and stored * rate == pytest.approx(top - bottom, rel=1e-9)
    assert worst == np.abs(theta - curve).max() > 1e-3


def test_a_water_content_that_is_not_a_number_ends_the_run():
    work, table, p = kernel_of(31, rain_cm_d=0.0)
    field(work, richards_kernel.TH_N, 31)[5] = np.nan
    nothing, counts = np.zeros(1), np.zeros(richards_time.COUNTS)
    profile = np.zeros((2, 31)), np.zeros((2, 31))
    results = *profile, np.zeros((2, 4)), np.zeros((2, 4)), counts
    status = richards_time.run(
        *(work, table, decay(), p, np.zeros((1, 31)), DAYS[:1], nothing, nothing, np.zeros(0)),
        *(3e-3, *results),
    )
    assert status == richards_time.NOT_CONVERGED


def test_every_second_call_halves_the_steps_of_a_slow_iteration_and_the_others_none():
    patience = richards_newton.PATIENCE
    for iteration, share in ((patience, 0.5), (patience + 1, 1.0), (patience + 2, 0.5)):
        work = np.zeros(richards_kernel.FIELDS * richards_kernel.STRIDE)
        step = field(work, richards_kernel.DU, 3)
        step[:] = (0.1, -0.2, 0.3)
        assert richards_newton.damp(work, 3, iteration) == (share < 1.0)
        np.testing.assert_allclose(step, share * np.array([0.1, -0.2, 0.3]))


def test_plain_van_genuchten_with_small_n_is_rejected_with_the_remedy():
    soil = replace(CATALOGUE["clay"], air_entry_cm=0.0)
    with pytest.raises(SolverError, match="with_air_entry") as rejected:
        solve(Column((soil,), graded_grid(100.0, 51, 1.0)), Forcing(DAYS))
    copy = pickle.loads(pickle.dumps(rejected.value))  # a campaign's worker sends it
    assert (copy.soil, copy.day, copy.reason) == ("clay", 0.0, rejected.value.reason)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ({"rain_cm_d": -1.0}, "rain_cm_d is negative"),
        ({"pot_evaporation_cm_d": np.nan}, "pot_evaporation_cm_d"),
        ({"pot_transpiration_cm_d": 0.1}, "needs Column.feddes"),
        ({"end_d": np.array([1.0, 1.0])}, "increase"),
    ],
)
def test_impossible_forcing_is_rejected(fault, text):
    with pytest.raises(ValueError, match=text):
        solve(column(), Forcing(**({"end_d": DAYS} | fault)))


def test_impossible_columns_are_rejected():
    grid = Grid(np.linspace(0, 50, 11), np.ones(11, np.int64), np.zeros(11))
    with pytest.raises(ValueError, match="materials"):
        Column((CATALOGUE["loam"],), grid)
    with pytest.raises(ValueError, match="hcrit"):
        column(hcrit_cm=1.0)
    with pytest.raises(ValueError, match="top_head_cm"):
        solve(column(top="head"), Forcing(DAYS))
    with pytest.raises(ValueError, match="at most 1001 nodes, not 1002"):
        solve(column(grid=graded_grid(1100.0, 1002, 1.0)), Forcing(DAYS))


@pytest.mark.parametrize("rows", [3, 4, 5, 6, 7, 8, 41, 1001])
def test_rows_eliminated_from_both_ends_solve_the_system(rows):
    rng = np.random.default_rng(rows)
    work = np.zeros(richards_kernel.FIELDS * richards_kernel.STRIDE)
    names = ("DIAG", "RHS", "DQ_ABOVE", "DQ_BELOW")
    diagonal, rhs, above, below = (field(work, getattr(richards_kernel, n), rows) for n in names)
    diagonal[:], rhs[:] = rng.uniform(2.1, 4.0, rows), rng.normal(size=rows)
    above[1:], below[1:] = rng.uniform(0.1, 1.0, rows - 1), -rng.uniform(0.1, 1.0, rows - 1)
    matrix = np.diag(diagonal) - np.diag(above[1:], -1) + np.diag(below[1:], 1)
    richards_kernel.eliminate(work, rows)
    step = field(work, richards_kernel.DU, rows)
    np.testing.assert_allclose(step, np.linalg.solve(matrix, rhs), rtol=1e-11, atol=1e-13)
