"""Scenarios with observed weather: calendar of the file, snow, and a self-contained run folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.errors import ConfigError
from epithermal_host.cli import weather
from epithermal_host.cli.main import main
from epithermal_host.config.run_toml import RunConfig, campaign_key, read_run
from epithermal_host.simulation import campaign
from epithermal_host.simulation.results import read_result
from epithermal_host.weather import observed
from epithermal_host.weather.climate_prior import sample_climate
from epithermal_host.weather.climate_toml import write_climate
from epithermal_host.weather.generator import generate
from epithermal_host.weather.station_series import ReadOptions, read

RUN = """
[campaign]
seed = 3
soils = 6
years = 1
start = "2001-04-01"
[population]
textures = ["loam"]
nodes = 21
observed = ["{folder}station.toml"]
"""
COLUMNS = {"rain_mm": "rain", "t_min_c": "low", "t_max_c": "high", "et0_mm": "et0"}
OPTIONS = ReadOptions(latitude_deg=47.0, altitude_m=300.0, columns=COLUMNS)


def station(folder: Path, years: int = 9, seed: int = 5) -> Path:
    """Write the daily file and the climate file of a cold station; return the latter's path."""
    climate = sample_climate(np.random.default_rng(seed))
    first = np.datetime64("1990-01-01", "D")
    days = round(years * 365.25)
    w = generate(climate, np.random.default_rng(1), int(first.astype(int)), days)
    lines = ["date,rain,low,high,et0"]
    for i in range(days):
        cold = 15.0 if i % 365 < 60 else 0.0
        rain = (i % 97) / 10.0 if i % 3 == 0 else 0.0
        low, high = w.t_min_c[i] - cold, w.t_max_c[i] - cold
        lines.append(f"{first + i},{rain:.1f},{low:.1f},{high:.1f},{w.et0_mm[i]:.2f}")
    daily = folder / "days.txt"
    daily.write_text("\n".join(lines) + "\n", "utf-8")
    path = folder / "station.toml"
    again = observed.read_keys(daily, "csv", OPTIONS, path)
    write_climate(path, climate, read(daily, "csv", OPTIONS), again)
    return path


def asked(folder: Path, text: str = "", where: str = "") -> RunConfig:
    path = folder / "run.toml"
    path.write_text(RUN.format(folder=where) + text, "utf-8")
    return read_run(path)


@pytest.fixture
def config(tmp_path) -> RunConfig:
    station(tmp_path)
    return asked(tmp_path)


def test_a_scenario_has_the_days_of_the_file_from_the_campaigns_calendar_day_on(config, tmp_path):
    run = tmp_path / "run"
    assert campaign.run(config, run, workers=1, progress=False).failed == ()
    daily = config.observed[0].daily
    begins = set()
    for index in range(config.campaign.soils):
        scenario = campaign.scenario_of(config, index)
        begin = np.datetime64(scenario.observed_day, "D")
        assert str(begin)[5:] == "04-01" and scenario.observed == "station"
        begins.add(str(begin))
        skip = config.campaign.spin_up_days
        first = int(np.flatnonzero(daily.date == begin)[0]) + skip
        w = read_result(run, index).weather
        kept = slice(first, first + w.day.size)
        assert w.day[0] == config.campaign.first_day  # the campaign's own, whatever the year
        for name, own in (("precipitation_mm", "rain_mm"), ("t_min_c", "t_min_c"),
                          ("t_max_c", "t_max_c"), ("et0_mm", "et0_mm")):  # fmt: skip
            np.testing.assert_array_equal(getattr(w, name), getattr(daily, own)[kept])
        assert np.isfinite(w.pressure_hpa).all() and w.pressure_hpa.std() > 1.0  # generated
        assert w.incoming.std() > 0.0
    assert len(begins) > 1


def test_snow_and_melt_are_the_degree_day_rule_on_the_files_days(config):
    scenario = campaign.scenario_of(config, 0)
    place = config.observed[0]
    seen = observed.cut_window(place, scenario.observed_day, 730)
    generated = generate(place.climate, scenario.rng("weather"), 0, 730)
    w = observed.apply_window(seen, generated, place.climate)
    assert w.snow_mm.max() > 1.0
    fallen, reached = np.cumsum(w.precipitation_mm), np.cumsum(w.water_mm)
    np.testing.assert_allclose(
        fallen, reached + w.snow_mm, atol=1e-9
    )  # the balance of water is closed
    t_mean = 0.5 * (w.t_min_c + w.t_max_c)
    assert not w.water_mm[(t_mean < 0.0) & (t_mean < place.climate.snow_below_c)].any()


def test_workers_read_no_file_and_the_run_folder_is_self_contained(config, tmp_path):
    one = campaign.run(config, tmp_path / "one", workers=1, progress=False)
    for name in ("station.toml", "days.txt"):
        (tmp_path / name).rename(tmp_path / f"away-{name}")
    moved = shutil.move(tmp_path / "one", tmp_path / "elsewhere")
    again = campaign.run(read_run(moved), moved, workers=1, progress=False)
    assert (again.simulated, again.reused, again.data_hash) == (0, 6, one.data_hash)
    two = campaign.run(read_run(moved), tmp_path / "two", workers=2, progress=False)
    assert (two.simulated, two.data_hash) == (6, one.data_hash)


def test_the_content_of_the_daily_file_is_part_of_a_campaigns_identity_its_path_is_not(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        station(tmp_path / name)
    key = campaign_key(asked(tmp_path, where="a/"))
    assert campaign_key(asked(tmp_path, where="b/")) == key
    path = tmp_path / "b" / "days.txt"
    path.write_text(path.read_text("utf-8").replace(",9.6,", ",9.5,", 1), "utf-8")
    assert campaign_key(asked(tmp_path, where="b/")) != key


def test_observed_share_leaves_the_others_to_the_generator(tmp_path):
    station(tmp_path)
    config = asked(tmp_path, "observed_share = 0.5\n")
    places = [campaign.scenario_of(config, index) for index in range(80)]
    own = [s for s in places if s.observed]
    assert 25 < len(own) < 55
    assert all(s.climate == config.observed[0].climate for s in own)
    assert len({s.climate.latitude_deg for s in places if not s.observed}) == 80 - len(own)


def test_an_unsuitable_file_is_reported_with_the_remedy(tmp_path):
    path = station(tmp_path, years=2)
    with pytest.raises(ConfigError, match=r"has no window of the 730 days.*simulate fewer years"):
        asked(tmp_path)
    text = path.read_text("utf-8")
    path.write_text(text.replace("rain_mm=rain", "rain_mm=rains"), "utf-8")
    with pytest.raises(ConfigError, match="no column 'rains'"):
        asked(tmp_path)
    path.write_text(text.replace('"t_min_c=low"', '"t_mean_c=low"'), "utf-8")
    with pytest.raises(ConfigError, match="has no t_min_c; use another file"):
        asked(tmp_path)
    path.write_text(text[: text.index("[source.read]")] + text[text.index("[climate]") :], "utf-8")
    with pytest.raises(ConfigError, match="create the file again with `weather fit`"):
        asked(tmp_path)


def test_a_window_with_a_missing_day_is_not_drawn_and_the_others_are(tmp_path, caplog):
    station(tmp_path)
    whole = asked(tmp_path).observed[0]
    path = tmp_path / "days.txt"
    rows = path.read_text("utf-8").splitlines()
    lost = next(i for i, row in enumerate(rows) if row.startswith("1994-07-01"))
    cells = rows[lost].split(",")
    rows[lost] = ",".join([cells[0], "-999", *cells[2:]])
    path.write_text("\n".join(rows), "utf-8")
    place = asked(tmp_path).observed[0]
    gap = int(np.datetime64("1994-07-01", "D").astype(int))
    days = 2 * 365
    hit = {b for b in whole.begins if b <= gap < b + days}
    assert hit and set(place.begins) == set(whole.begins) - hit
    number = len(whole.begins)
    assert f"{len(hit)} of {number} windows have missing days and are left out" in caplog.text
    assert "rain_mm (column rain) is missing on 1 of" in caplog.text


def test_a_table_is_read_again_as_its_climate_file_describes_it(tmp_path):
    station(tmp_path)
    path = tmp_path / "days.txt"
    plain = read(path, "csv", OPTIONS)
    rows = [row.split(",") for row in path.read_text("utf-8").splitlines()[1:]]
    lines = ["A title", *(";".join([f"{d[8:]}.{d[5:7]}.{d[:4]}", *x])
                          for d, *x in rows)]  # fmt: skip
    other = tmp_path / "other.txt"
    other.write_text("\n".join(lines), "utf-8")
    how = ReadOptions(latitude_deg=47.0, altitude_m=300.0, columns=COLUMNS, delimiter=";", skip=1,
                      header=("date", "rain", "low", "high", "et0"), date_format="%d.%m.%Y",
                      missing=("-77",))  # fmt: skip
    climate = sample_climate(np.random.default_rng(5))
    keys = observed.read_keys(other, "csv", how, tmp_path / "station.toml")
    write_climate(tmp_path / "station.toml", climate, plain, keys)
    again = asked(tmp_path).observed[0].daily
    for name in ("date", "rain_mm", "t_min_c", "t_max_c", "et0_mm"):
        np.testing.assert_array_equal(getattr(again, name), getattr(plain, name))


@pytest.mark.shared
def test_the_rain_of_de_bilt_is_that_of_its_file(shared, tmp_path):
    daily = shared / "weather" / "debilt_260_daily_1988_2019.csv"
    columns = ("date=date,rain_mm=precip_mm,et0_mm=et0_makkink_mm,t_min_c=tmin_c,t_max_c=tmax_c,"
               "relative_humidity_pct=rel_humidity_pct,pressure_msl_hpa=pressure_hpa")  # fmt: skip
    command = ["weather", "fit", str(daily), "--format", "csv", "--columns", columns]
    command += ["--latitude", "52.1", "--altitude", "1.9", "--out", str(tmp_path / "station.toml")]
    assert main(command) == 0
    config = asked(tmp_path, "")
    options = ReadOptions(latitude_deg=52.1, altitude_m=1.9, columns=weather.column_map(columns))
    whole = read(daily, "csv", options)
    run = tmp_path / "run"
    campaign.run(config, run, workers=2, progress=False)
    results = [read_result(run, i).weather for i in range(6)]
    rain = np.mean([w.precipitation_mm.mean() for w in results])
    et0 = np.mean([w.et0_mm.mean() for w in results])
    assert rain == pytest.approx(whole.rain_mm.mean(), rel=0.15)  # years differ by 16 %
    assert et0 == pytest.approx(whole.et0_mm.mean(), rel=0.05)
    assert np.mean([w.pressure_hpa.mean() for w in results]) == pytest.approx(1015.0, abs=2.0)
