"""Files of weather services are read as published, and rejected with the line when damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.errors import ConfigError
from epithermal_host.weather import station_series
from epithermal_host.weather.et0 import fao56_et0, wind_at_2m
from epithermal_host.weather.station_series import ReadOptions, read

DE_BILT = {
    "date": "date",
    "rain_mm": "precip_mm",
    "et0_mm": "et0_makkink_mm",
    "t_mean_c": "tmean_c",
    "t_min_c": "tmin_c",
    "t_max_c": "tmax_c",
    "radiation_mj_m2": "global_radiation_mj_m2",
    "relative_humidity_pct": "rel_humidity_pct",
    "pressure_msl_hpa": "pressure_hpa",
    "wind_10m_m_s": "wind_m_s",
}

# The lines of 1 to 5 January 1980 of the KNMI's etmgeg_260.txt (De Bilt, CC BY 4.0), header cut.
KNMI = """\
BRON: KONINKLIJK NEDERLANDS METEOROLOGISCH INSTITUUT (KNMI)
YYYYMMDD  = Datum (YYYY=jaar MM=maand DD=dag) / Date (YYYY=year MM=month DD=day)
RH        = Etmaalsom van de neerslag (in 0.1 mm) (-1 voor <0.05 mm) / Daily precipitation amount

# STN,YYYYMMDD,DDVEC,FHVEC,   FG,   TG,   TN,   TX,    Q,   DR,   RH,   PG,   UG, EV24

  260,19800101,  275,   21,   26,    9,   -8,   23,  253,   22,   58,10072,   93,    3
  260,19800102,  314,   15,   15,   -4,  -21,   29,  255,    2,   -1,10175,   95,    3
  260,19800103,  171,   21,   26,  -23,  -63,    5,   80,   59,   13,10208,   97,    1
  260,19800104,  182,   46,   51,   16,   -4,   38,   40,   96,   91,10072,   97,    0
"""
KNMI_PLACE = """\
# STN         LON(east)   LAT(north)  ALT(m)      NAME
# 260         5.180       52.100      1.90        De Bilt
"""
OPEN_METEO = """\
latitude,longitude,elevation,utc_offset_seconds,timezone,timezone_abbreviation
50.896606,4.4943504,57.0,7200,Europe/Brussels,GMT+2

time,temperature_2m_max (°C),temperature_2m_min (°C),precipitation_sum (mm),\
et0_fao_evapotranspiration (mm),shortwave_radiation_sum (MJ/m²),surface_pressure_mean (hPa),\
relative_humidity_2m_mean (%),wind_speed_10m_mean (km/h)
2024-06-01,18.2,9.4,0.30,3.11,18.02,1008.1,77,12.6
2024-06-02,19.5,10.1,0.00,3.85,22.40,1011.9,70,10.8
2024-06-03,17.0,8.8,1.20,2.64,14.75,1010.2,81,9.0
"""
KMI = """\
FID,the_geom,code,timestamp,qc_flags,precip_quantity,temp_avg,temp_max,temp_min,\
wind_speed_10m,humidity_rel_shelter_avg,pressure,sun_duration,short_wave_from_sky_avg
aws_1day.1,POINT (50.904 3.122),6414,2024-01-01T00:00:00,"{""validated"":{""A"":true,""B"":1}}",\
1.1,4.2,7.5,1.0,3.47,79.72,1008.84,380.9,40
aws_1day.2,POINT (50.904 3.122),6414,2024-01-02T00:00:00,,\
0.0,5.1,8.1,2.2,2.91,75.11,1009.12,120.5,25
"""
GRID = """\
pixel_id;day;temp_max;temp_min;temp_avg;precip_quantity;humidity_relative;pressure;sun_duration;\
short_wave_from_sky;evapotrans_ref
812;2020-07-01;22.1;12.0;17.05;0.4;70.1;1015.2;7.1;5.2;3.4
812;2020-07-02;24.3;11.2;17.75;0.0;66.0;1016.9;10.2;6.4;4.4
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "weather.txt"
    path.write_text(text, encoding="utf-8")
    return path


def faults(path: Path, form: str, options: ReadOptions | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(path, form, options)
    return caught.value.faults


def test_a_knmi_file_is_in_tenths_and_a_trace_of_rain_is_zero(tmp_path):
    w = read(write(tmp_path, KNMI), "knmi", ReadOptions(52.1, 1.9))
    np.testing.assert_allclose(w.rain_mm, [5.8, 0.0, 1.3, 9.1])
    np.testing.assert_allclose(w.t_min_c, [-0.8, -2.1, -6.3, -0.4])
    np.testing.assert_allclose(w.et0_mm, [0.3, 0.3, 0.1, 0.0])
    np.testing.assert_allclose(w.radiation_mj_m2, [2.53, 2.55, 0.8, 0.4])
    np.testing.assert_allclose(w.pressure_hpa, [1007.2, 1017.5, 1020.8, 1007.2], atol=0.25)
    assert str(w.date[0]) == "1980-01-01" and w.day[1] == 3653
    assert w.wind_2m_m_s[0] == pytest.approx(2.6 * 0.748, rel=1e-3)  # FAO-56, table 2.9: 0.748
    assert w.et0_from == "given: EV24, Makkink"


def test_the_location_is_read_from_the_file_or_required_as_an_option(tmp_path):
    w = read(write(tmp_path, KNMI_PLACE + KNMI), "knmi")
    assert (w.latitude_deg, w.altitude_m) == (52.1, 1.9)
    (fault,) = faults(write(tmp_path, KNMI), "knmi")
    assert "weather.txt" in fault and "--latitude --altitude" in fault


def test_an_open_meteo_file_contains_location_and_units(tmp_path):
    w = read(write(tmp_path, OPEN_METEO), "openmeteo")
    assert (w.latitude_deg, w.altitude_m) == (pytest.approx(50.8966, abs=1e-4), 57.0)
    np.testing.assert_allclose(w.rain_mm, [0.3, 0.0, 1.2])
    np.testing.assert_allclose(w.t_mean_c, [13.8, 14.8, 12.9])
    np.testing.assert_allclose(w.pressure_hpa, [1008.1, 1011.9, 1010.2])
    assert w.wind_2m_m_s[1] == pytest.approx(float(wind_at_2m(3.0, 10.0)))
    inch = OPEN_METEO.replace("precipitation_sum (mm)", "precipitation_sum (inch)")
    assert read(write(tmp_path, inch), "openmeteo").rain_mm[0] == pytest.approx(7.62)
    furlong = OPEN_METEO.replace("precipitation_sum (mm)", "precipitation_sum (furlong)")
    assert "precipitation_sum (furlong)" in faults(write(tmp_path, furlong), "openmeteo")[0]


def test_kmi_stations_and_grid_differ_in_pressure_and_radiation(tmp_path):
    w = read(write(tmp_path, KMI), "kmi", ReadOptions(altitude_m=24.8))
    assert w.latitude_deg == 50.904
    np.testing.assert_allclose(w.pressure_hpa, [1008.84, 1009.12])  # the station's own
    np.testing.assert_allclose(w.radiation_mj_m2, [3.456, 2.16])  # of W m-2
    assert w.et0_from.startswith("FAO-56")
    g = read(write(tmp_path, GRID), "rmi", ReadOptions(50.8, 100.0))
    np.testing.assert_allclose(g.radiation_mj_m2, [18.72, 23.04])  # of kWh m-2
    assert g.pressure_hpa[0] == pytest.approx(1015.2 - 12.0, abs=0.3)  # 1 hPa in 8.3 m
    assert g.et0_from.startswith("given")


def test_days_of_another_station_are_not_mixed_in(tmp_path):
    other = KMI + KMI.splitlines()[1].replace("6414", "6447") + "\n"
    assert "several stations (6414, 6447)" in faults(write(tmp_path, other), "kmi")[0]
    w = read(write(tmp_path, other), "kmi", ReadOptions(altitude_m=24.8, station="6414"))
    assert w.date.size == 2


def test_missing_and_repeated_days_are_rejected_with_their_line(tmp_path):
    lines = KNMI.splitlines(keepends=True)
    gap = "".join(lines[:7] + lines[9:])
    (fault,) = faults(write(tmp_path, gap), "knmi", ReadOptions(52.1, 1.9))
    assert "weather.txt:8: date 1980-01-04: 2 days missing after 1980-01-01" in fault
    twice = "".join([*lines, lines[7]])
    (fault,) = faults(write(tmp_path, twice), "knmi", ReadOptions(52.1, 1.9))
    assert "weather.txt:11: date 1980-01-02: the day is also in line 8" in fault


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ("   13,10208", "  -13,10208", ":9:", "rain_mm = -1.3 (column RH): negative rain"),
        ("   59,   13", "   59,     ", ":9:", "rain_mm (column RH): empty on 1980-01-03"),
        ("  -63,    5", "  -63, -105", ":9:", "t_min_c = -6.3 is above t_max_c = -10.5"),
        (
            "10208,   97",
            "10208,  970",
            ":9:",
            "relative_humidity_pct = 970 (column UG): impossible",
        ),
        ("10208,   97", "10208,     ", ":9:", "--without relative_humidity_pct"),
        ("    5,   80", "    5,  8000", ":9:", "radiation_mj_m2 = 80 (column Q): impossible"),
        ("    5,   80", "    5, 2000", ":9:", "above the"),
        ("19800103", "19800133", ":9:", "not a date"),
        ("    5,   80", "    x,   80", ":9:", "not a number"),
    ],
)
def test_impossible_values_are_rejected_with_line_field_remedy(tmp_path, old, new, where, what):
    assert KNMI.count(old) == 1
    found = faults(write(tmp_path, KNMI.replace(old, new)), "knmi", ReadOptions(52.1, 1.9))
    assert any(where in fault and what in fault for fault in found), found


def test_twenty_faults_are_listed_and_the_others_counted(tmp_path):
    rows = [f"2001-01-{d:02d},-1.0\n" for d in range(1, 31)]
    path = write(tmp_path, "date,rain_mm\n" + "".join(rows))
    found = faults(path, "csv", ReadOptions(50.0, 0.0))
    assert len(found) == station_series.FAULTS_SHOWN + 1
    assert found[-1] == "and 10 more faults in the same file"


def test_a_period_or_a_quantity_can_be_excluded(tmp_path):
    bad = KNMI.replace("10208,   97", "10208,     ")
    options = ReadOptions(52.1, 1.9, first="1980-01-04")
    assert read(write(tmp_path, bad), "knmi", options).date.size == 1
    options = ReadOptions(52.1, 1.9, without=("relative_humidity_pct",))
    assert np.isnan(read(write(tmp_path, bad), "knmi", options).relative_humidity_pct).all()
    with pytest.raises(ConfigError, match="not a date"):
        read(write(tmp_path, bad), "knmi", ReadOptions(first="yesterday"))


def test_a_column_map_names_columns_and_their_factor(tmp_path):
    text = "day;rain m\n2001-02-28;0.0021\n2001-03-01;0\n"
    options = ReadOptions(50.0, 0.0, columns={"date": "day", "rain_mm": "rain m * 1000"})
    w = read(write(tmp_path, text), "csv", options)
    np.testing.assert_allclose(w.rain_mm, [2.1, 0.0])
    assert np.isnan(w.et0_mm).all() and w.et0_from == ""
    wrong = ReadOptions(50.0, 0.0, columns={"date": "day", "rain_mm": "rain"})
    assert (
        "no column 'rain' for rain_mm; columns: day, rain m"
        in faults(write(tmp_path, text), "csv", wrong)[0]
    )
    with pytest.raises(ConfigError, match="no such field: snow"):
        read(write(tmp_path, text), "csv", ReadOptions(columns={"snow": "x"}))


def test_a_file_of_another_format_or_a_missing_one_is_reported(tmp_path):
    assert "check the format" in faults(write(tmp_path, OPEN_METEO), "knmi")[0]
    assert "cannot be read" in faults(tmp_path / "none.csv", "csv")[0]
    assert "format 'grib' is unknown" in faults(write(tmp_path, KNMI), "grib")[0]


def test_et0_by_penman_and_monteith_agrees_with_the_example_of_fao_56():
    # FAO-56, example 18: Uccle, 6 July, 3.88 mm; humidity: its e_a = 1.409 kPa over e_s = 1.997
    one = [np.array([x]) for x in (16.9, 12.3, 21.5, 22.07, 2.078, 140.9 / 1.997)]
    et0 = fao56_et0(np.array(["2001-07-06"], dtype="datetime64[D]"), *one, 50.8, 100.0)
    assert et0[0] == pytest.approx(3.88, abs=0.01)


EXAMPLE_18 = """date,rain_mm,tn,tx,rs,u2,rn,rx
2001-07-07,1,12.3,21.5,22.07,2.078,63,84
2001-07-06,0,12.3,21.5,22.07,2.078,63,84
"""


def test_et0_uses_the_extremes_of_the_humidity_as_the_example_of_fao_56(tmp_path):
    # FAO-56, example 18: Uccle, 6 July; 63 to 84 %; e_a = 1.409 kPa, ET0 = 3.88 mm
    names = {"t_min_c": "tn", "t_max_c": "tx", "radiation_mj_m2": "rs", "wind_2m_m_s": "u2"}
    columns = names | {"rh_min_pct": "rn", "rh_max_pct": "rx"}
    text = EXAMPLE_18
    w = read(write(tmp_path, text), "csv", ReadOptions(50.8, 100.0, columns=columns, et0="fao56"))
    assert w.et0_mm[0] == pytest.approx(3.88, abs=0.01)
    assert w.relative_humidity_pct[0] == 73.5
    mean = [np.array([x] * 2) for x in (16.9, 12.3, 21.5, 22.07, 2.078, 80.0)]
    extremes = (np.array([63.0, np.nan]), np.array([84.0, 84.0]))
    date = np.array(["2001-07-06", "2001-07-07"], dtype="datetime64[D]")
    both = fao56_et0(date, *mean, 50.8, 100.0, extremes)
    assert both[0] == pytest.approx(3.88, abs=0.01)
    assert both[1] == fao56_et0(date, *mean, 50.8, 100.0)[1]  # a day without the minimum
    swapped = ReadOptions(50.8, 100.0, columns=columns | {"rh_min_pct": "rx", "rh_max_pct": "rn"})
    assert "rh_min_pct = 84 is above" in faults(write(tmp_path, text), "csv", swapped)[0]


def test_the_source_of_et0_can_be_chosen(tmp_path):
    et0 = {
        way: read(write(tmp_path, OPEN_METEO), "openmeteo", ReadOptions(et0=way))
        for way in ("auto", "given", "fao56", "hargreaves")
    }
    assert et0["auto"].et0_from == et0["given"].et0_from
    np.testing.assert_allclose(et0["fao56"].et0_mm, et0["given"].et0_mm, rtol=0.15)
    assert et0["hargreaves"].et0_from.startswith("Hargreaves")
    bare = write(tmp_path, "date,rain_mm\n2001-01-01,1\n")
    assert "needs t_min_c, t_max_c" in faults(bare, "csv", ReadOptions(50, 0, et0="hargreaves"))[0]


def test_de_bilt_of_the_reference_data_is_read_by_a_column_map(shared):
    path = shared / "weather" / "debilt_260_daily_1988_2019.csv"
    w = read(path, "csv", ReadOptions(52.1, 1.9, columns=DE_BILT))
    assert w.date.size == 11688
    assert w.rain_mm.sum() / 32 == pytest.approx(845, abs=0.5)  # the README's means
    assert w.et0_mm.sum() / 32 == pytest.approx(577, abs=0.5)
    penman = read(path, "csv", ReadOptions(52.1, 1.9, columns=DE_BILT, et0="fao56"))
    assert penman.et0_mm.sum() / w.et0_mm.sum() == pytest.approx(1.06, abs=0.03)
    assert np.corrcoef(penman.et0_mm, w.et0_mm)[0, 1] > 0.96


@pytest.mark.parametrize(
    ("name", "rain_mm", "et0_mm"),
    [("pastas_nb1_daily_1980_2016.csv", 757, 587), ("pastas_nb18_daily_1996_2020.csv", 818, 607)],
)
def test_files_with_rain_and_et0_alone_are_read_too(shared, name, rain_mm, et0_mm):
    columns = {"rain_mm": "precip_mm", "et0_mm": "et0_makkink_mm"}
    w = read(shared / "weather" / name, "csv", ReadOptions(51.6, 20.0, columns=columns))
    assert w.rain_mm.mean() * 365.25 == pytest.approx(rain_mm, rel=0.02)
    assert w.et0_mm.mean() * 365.25 == pytest.approx(et0_mm, rel=0.02)
    assert np.isnan(w.t_min_c).all()
