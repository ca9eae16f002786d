"""A climate fitted to a station generates weather like the station's."""

from __future__ import annotations

import argparse
import dataclasses
import tomllib

import numpy as np
import pytest
import tomli_w

from epithermal_edge.errors import ConfigError
from epithermal_host.cli.weather import add_parser, column_map, run
from epithermal_host.weather import fit_rain
from epithermal_host.weather.climate_prior import sample_climate
from epithermal_host.weather.climate_toml import LIMITS, read_climate, write_climate
from epithermal_host.weather.compare import (
    Row,
    compare,
    generated_series,
    observed_series,
    spells,
    table,
    without_season,
)
from epithermal_host.weather.fit import fit
from epithermal_host.weather.generator import Climate, at, day_of_year, generate
from epithermal_host.weather.station_series import DailyWeather, complete_days


def station(climate: Climate, years: float, seed: int = 3) -> DailyWeather:
    """Generate the daily series of a station in a climate."""
    w = generate(climate, np.random.default_rng(seed), 3653, round(years * 365.25))
    return DailyWeather(
        source="made",
        date=w.day.astype("datetime64[D]"),
        rain_mm=np.round(w.precipitation_mm, 1),
        t_min_c=w.t_min_c,
        t_max_c=w.t_max_c,
        t_mean_c=0.5 * (w.t_min_c + w.t_max_c),
        et0_mm=w.et0_mm,
        et0_from="made",
        pressure_hpa=w.pressure_hpa,
        relative_humidity_pct=w.relative_humidity_pct,
        radiation_mj_m2=np.full(w.day.size, np.nan),
        wind_2m_m_s=np.full(w.day.size, np.nan),
        latitude_deg=climate.latitude_deg,
        altitude_m=climate.altitude_m,
    )


def without(weather: DailyWeather, *names: str) -> DailyWeather:
    nothing = np.full(weather.date.size, np.nan)
    return dataclasses.replace(weather, **dict.fromkeys(names, nothing))


@pytest.mark.parametrize("seed", [4, 9])
def test_a_fit_to_generated_weather_generates_it_again(seed):
    """Check also a place with little rain in summer (seed 4) and one in the south (seed 9)."""
    climate = sample_climate(np.random.default_rng(seed))
    observed = observed_series(station(climate, 60.0))
    rows = compare(observed, generated_series(fit(station(climate, 60.0)), years=120))
    judged = {r.name: r for r in rows if r.tolerance is not None and "month" not in r.name}
    assert all(r.ok for r in judged.values()), "\n".join(table(rows))


def test_the_season_of_a_fit_is_that_of_the_climate():
    climate = sample_climate(np.random.default_rng(1))
    fitted = fit(station(climate, 60.0))
    season = day_of_year(np.arange(365))
    for name, tolerance in (("t_mean_c", 0.8), ("t_range_c", 0.6), ("humidity_pct", 2.0)):
        difference = at(getattr(fitted, name), season) - at(getattr(climate, name), season)
        assert np.sqrt(np.mean(difference**2)) < tolerance, name
    assert fitted.wet_reach == 0.0 and abs(fitted.rain_neighbour_rise) < 0.06
    assert fitted.rain_shape == pytest.approx(climate.rain_shape, rel=0.1)


def test_the_expectation_of_rain_is_the_mean_of_long_series():
    climate = dataclasses.replace(sample_climate(np.random.default_rng(1)), rain_neighbour_rise=0.4)
    nodes = (climate.wet_after_dry, climate.wet_after_wet, climate.rain_wet_day_mm)
    arrays = (np.array(v) for v in nodes)
    share, rain, recorded = fit_rain.expectation(*arrays, float(climate.rain_shape), 0.4)
    long = generated_series(climate, 150)
    assert share.mean() == pytest.approx(long.wet.mean(), rel=0.02)
    assert rain.mean() == pytest.approx(long.rain_mm.mean(), rel=0.03)
    assert np.all((recorded > 0.9) & (recorded < 1.0))


def test_quantities_that_are_not_measured_get_typical_values():
    climate = sample_climate(np.random.default_rng(2))
    poor = without(station(climate, 10.0), "et0_mm", "pressure_hpa", "relative_humidity_pct")
    fitted = fit(poor)
    assert fitted.et0_factor == 1.0 and fitted.et0_sigma == 0.0  # Hargreaves' estimate
    assert fitted.pressure_hpa == pytest.approx(climate.pressure_hpa, abs=0.1)
    assert 20.0 < np.mean(fitted.humidity_pct) < 100.0
    names = {row.name for row in compare(observed_series(poor), generated_series(fitted, 5))}
    assert "annual rain" in names and not any("ET0" in n or "humidity" in n for n in names)


def test_a_series_that_is_too_short_or_too_poor_is_rejected():
    climate = sample_climate(np.random.default_rng(2))
    with pytest.raises(ConfigError, match=r"2\.0 years are too few"):
        fit(station(climate, 2.0))
    with pytest.raises(ConfigError, match="no t_min_c and t_max_c"):
        fit(without(station(climate, 5.0), "t_min_c"))
    dry = dataclasses.replace(station(climate, 5.0), rain_mm=np.zeros(round(5 * 365.25)))
    with pytest.raises(ConfigError, match="no day with rain"):
        fit(dry)


def test_missing_days_are_left_out_of_the_fit_and_change_it_little():
    whole = station(sample_climate(np.random.default_rng(2)), 20.0)
    lost = np.random.default_rng(8).random(whole.date.size) < 0.02
    gaps = dataclasses.replace(
        whole,
        rain_mm=np.where(lost, np.nan, whole.rain_mm),
        t_min_c=np.where(np.roll(lost, 50), np.nan, whole.t_min_c),
    )
    rows = compare(observed_series(whole), generated_series(fit(gaps), years=60))
    judged = [r for r in rows if r.tolerance is not None and "month" not in r.name]
    assert len(judged) > 10 and all(r.ok for r in judged), "\n".join(table(rows))
    assert complete_days(gaps).date.size == int((~(lost | np.roll(lost, 50))).sum())
    assert complete_days(whole) is whole


def test_every_sampled_climate_is_within_the_limits_of_a_file():
    names = [f.name for f in dataclasses.fields(Climate)]
    assert sorted(LIMITS) == sorted(names)
    for seed in range(300):
        climate = sample_climate(np.random.default_rng(seed))
        for name in names:
            values, limits = np.atleast_1d(getattr(climate, name)), LIMITS[name]
            assert np.all((limits.low <= values) & (values <= limits.high)), (seed, name)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("t_mean_c", [283.0] * 12, "t_mean_c = 283 is above 50 degC; in K or degF?"),
        ("humidity_pct", [0.8] * 12, "humidity_pct = 0.8 is below 1 %; a fraction?"),
        ("pressure_hpa", 101325.0, "pressure_hpa = 101325 is above 1090 hPa; in Pa?"),
        ("wet_after_wet", [0.6] * 11 + [60.0], "wet_after_wet = 60 is above 1; in percent?"),
        ("rain_wet_day_mm", [0.005] * 12, "is below 0.05 mm; in m or inches?"),
        ("latitude_deg", 152.0, "latitude_deg = 152 is above 90 degrees; correct it"),
        ("t_memory", 1.0, "t_memory = 1 is above 0.9999; correct it"),
        ("melt_mm_per_c_d", -2.0, "melt_mm_per_c_d = -2 is below 0"),
    ],
)
def test_a_climate_in_another_unit_is_refused_with_key_and_remedy(tmp_path, name, value, fault):
    path = tmp_path / "climate.toml"
    climate = sample_climate(np.random.default_rng(5))
    write_climate(path, climate, station(climate, 4.0))
    written = tomllib.loads(path.read_text("utf-8"))
    written["climate"][name] = value
    path.write_text(tomli_w.dumps(written), "utf-8")
    with pytest.raises(ConfigError) as caught:
        read_climate(path)
    assert str(caught.value).startswith(f"{path}: [climate] {name} = ")
    assert fault in str(caught.value)


def test_a_climate_survives_its_file(tmp_path):
    weather = station(sample_climate(np.random.default_rng(2)), 4.0)
    climate = fit(weather)
    write_climate(tmp_path / "climate.toml", climate, weather)
    assert read_climate(tmp_path / "climate.toml") == climate
    sampled = sample_climate(np.random.default_rng(5))  # single values beside twelve
    write_climate(tmp_path / "sampled.toml", sampled, weather)
    assert read_climate(tmp_path / "sampled.toml") == sampled


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("t_memory = ", "memory = ", "t_memory is missing"),
        ("t_memory = ", "memory = ", "memory: no such key"),
        ("t_memory = ", 't_memory = "high" #', "t_memory must be a number"),
        ("t_memory = ", "t_memory = true #", "t_memory must be a number"),
        ("t_memory = ", f"t_memory = 1{'0' * 400} #", "t_memory must be a number"),
        ("t_memory = ", "t_memory = nan #", "t_memory must be a number"),
        ("altitude_m = ", "altitude_m = [1, 2] #", "altitude_m must be a number"),
        ("[climate]", "[weather]", r"no section \[climate\]"),
        ("[climate]", "[climate", "invalid TOML"),
    ],
)
def test_a_damaged_climate_file_is_rejected_with_key_and_remedy(tmp_path, old, new, fault):
    weather = station(sample_climate(np.random.default_rng(2)), 4.0)
    path = tmp_path / "climate.toml"
    write_climate(path, sample_climate(np.random.default_rng(5)), weather)
    text = path.read_text(encoding="utf-8")
    assert f"\n{old}" in text
    path.write_text(text.replace(f"\n{old}", f"\n{new}"), encoding="utf-8")
    with pytest.raises(ConfigError, match=fault):
        read_climate(path)


def test_rows_are_judged_relative_or_absolute():
    assert Row("a", "mm", 100.0, 104.0, 0.05, "relative").ok
    assert not Row("a", "mm", 100.0, 106.0, 0.05, "relative").ok
    assert Row("a", "-", 0.5, 0.52, 0.03).ok and not Row("a", "-", 0.5, 0.54, 0.03).ok
    assert Row("a", "-", 0.5, 9.9).ok  # listed, not judged
    assert table((Row("a", "mm", 100.0, 106.0, 0.05, "relative"),))[1].endswith("MISSED")


def test_a_harmonic_season_is_subtracted_and_spells_are_counted():
    day = np.arange(3 * 1461)
    wave = 3.0 + np.cos(2 * np.pi * (day_of_year(day) - 20.0) / 365.25)
    np.testing.assert_allclose(without_season(wave, day), 0.0, atol=1e-9)
    assert spells(np.array([True, True, False, True, False, False])).tolist() == [2, 1]


def command(*words: object) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    lines: list[str] = []
    code = run(parser.parse_args([str(w) for w in words]), lines.append)
    return code, "\n".join(lines)


def test_the_command_fits_de_bilt_within_the_tolerances(shared, tmp_path):
    path = shared / "weather" / "debilt_260_daily_1988_2019.csv"
    columns = tmp_path / "columns.toml"
    columns.write_text(
        '[columns]\nrain_mm = "precip_mm"\net0_mm = "et0_makkink_mm"\nt_min_c = "tmin_c"\n'
        't_max_c = "tmax_c"\nrelative_humidity_pct = "rel_humidity_pct"\n'
        'pressure_hpa = "pressure_hpa"\n',
        encoding="utf-8",
    )
    file = (path, "--format", "csv", "--columns", columns, "--latitude", 52.1, "--altitude", 1.9)
    climate, picture = tmp_path / "climate.toml", tmp_path / "months.png"
    code, text = command("weather", "fit", *file, "--out", climate)
    assert code == 0 and "11688 days" in text and "climate.toml: written" in text
    code, text = command("weather", "check", climate, *file, "--years", 150, "--figure", picture)
    assert code == 0, text
    assert "MISSED" not in text and "22 of 22 within" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_command_exits_with_1_when_the_climate_is_another(tmp_path):
    weather = station(sample_climate(np.random.default_rng(2)), 4.0)
    write_climate(tmp_path / "other.toml", sample_climate(np.random.default_rng(6)), weather)
    rows = [
        f"{d},{r},{a},{b}"
        for d, r, a, b in zip(
            weather.date, weather.rain_mm, weather.t_min_c, weather.t_max_c, strict=True
        )
    ]
    path = tmp_path / "station.csv"
    path.write_text("\n".join(["date,rain_mm,t_min_c,t_max_c", *rows]), encoding="utf-8")
    place = ("--latitude", weather.latitude_deg, "--altitude", weather.altitude_m)
    code, text = command(
        "weather", "check", tmp_path / "other.toml", path, "--format", "csv", *place, "--years", 5
    )
    assert code == 1 and "MISSED" in text


def test_missing_values_of_a_file_are_stated_by_the_command(tmp_path):
    weather = station(sample_climate(np.random.default_rng(2)), 4.0)
    rain = np.where(np.arange(weather.date.size) % 50 == 7, 99.99, weather.rain_mm)
    columns = (weather.date, rain, weather.t_min_c + 273.15, weather.t_max_c + 273.15)
    rows = [f"{d},{r},{a},{b}" for d, r, a, b in zip(*columns, strict=True)]
    path = tmp_path / "station.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    names = "date,rain_mm,low,high"
    how = (
        "--format",
        "csv",
        "--header",
        names,
        "--columns",
        "t_min_c=low-273.15,t_max_c=high-273.15",
    )
    place = ("--latitude", weather.latitude_deg, "--altitude", weather.altitude_m)
    climate = tmp_path / "climate.toml"
    code, text = command("weather", "fit", path, *how, *place, "--out", climate)
    assert code == 0 and "1431 of 1461 days have all values and are used" in text
    again = tomllib.loads(climate.read_text("utf-8"))["source"]["read"]
    assert again["header"] == names.split(",") and "skip" not in again


def test_a_column_map_is_written_on_the_line_or_in_a_file(tmp_path):
    assert column_map("rain_mm=P*10, date=day") == {
        "rain_mm": "P*10",
        "date": "day",
    }
    with pytest.raises(ConfigError, match="'P' is not field=column"):
        column_map("P")
    with pytest.raises(ConfigError, match="No such file"):
        column_map(str(tmp_path / "none.toml"))
