"""Daily tables as services and spreadsheets export them: units, codes, dates, titles, no header."""

from __future__ import annotations

import datetime
import gzip
from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.errors import ConfigError
from epithermal_host.cli.main import main
from epithermal_host.weather.station_series import ReadOptions, read

FIRST = datetime.date(2018, 1, 1)
DAYS = 40
RAIN = [1.8, 0.0, 5.4, 0.0] * 10
LOW = [-4.5, 0.6, 0.5, -6.9] * 10
HIGH = [9.3, 5.0, 7.8, 1.9] * 10


def day(i: int) -> datetime.date:
    return FIRST + datetime.timedelta(days=i)


def era5() -> str:
    rows = [f"{day(i)},{LOW[i] + 273.15:.2f},{HIGH[i] + 273.15:.2f},{RAIN[i] / 1000:.6f}"
            for i in range(DAYS)]  # fmt: skip
    return "\n".join(["valid_time,t2m_min,t2m_max,tp", *rows]) + "\n"


def euro() -> str:
    rows = [f"{day(i):%d.%m.%Y};{RAIN[i]};{LOW[i]};{HIGH[i]}".replace(".", ",")
            .replace(f"{day(i):%d,%m,%Y}", f"{day(i):%d.%m.%Y}") for i in range(DAYS)]  # fmt: skip
    return "\n".join(["Datum;Niederschlag;Tmin;Tmax", *rows]) + "\n"


def gsod() -> str:
    rows = ['"STATION","DATE","NAME","MAX","MIN","PRCP"']
    for i in range(DAYS):
        high, low = (f"  {x * 9 / 5 + 32:.2f}" for x in (HIGH[i], LOW[i]))
        rows.append(
            f'"725030","{day(i)}","AN AIRPORT, US","{high}","{low}"," {RAIN[i] / 25.4:.4f}"'
        )
    return "\n".join(rows) + "\n"


def meteostat() -> str:
    return "".join(f"{day(i)},2.4,{LOW[i]},{HIGH[i]},{RAIN[i]},,270,\n" for i in range(DAYS))


def silo() -> str:
    rows = ['"TITLE: a place, 40 days"', "Date       Day Date2      T.Max Smx T.Min Smn Rain",
            "(yyyymmdd)  () (ddmmyyyy) (oC)   ()  (oC)  ()  (mm)"]  # fmt: skip
    rows += [
        f"{day(i):%Y%m%d} {i + 1:3} {day(i):%d-%m-%Y}  {HIGH[i]}  0 {LOW[i]}\t0 {RAIN[i]}"
        for i in range(DAYS)
    ]
    return "\n".join(rows) + "\n"


def options(columns: str, **how: object) -> ReadOptions:
    pairs = dict(part.split("=", 1) for part in columns.split(","))
    return ReadOptions(latitude_deg=52.0, altitude_m=20.0, columns=pairs, **how)  # type: ignore[arg-type]


ERA5 = "date=valid_time,rain_mm=tp*1000,t_min_c=t2m_min-273.15,t_max_c=t2m_max-273.15"
EURO = "date=Datum,rain_mm=Niederschlag,t_min_c=Tmin,t_max_c=Tmax"
GSOD = "date=DATE,rain_mm=PRCP * 25.4,t_min_c=MIN*5/9-160/9,t_max_c=MAX * 5/9 - 160/9"
SHORT = "date=date,rain_mm=prcp,t_min_c=tmin,t_max_c=tmax"
SILO = "date=Date,rain_mm=Rain,t_min_c=T.Min,t_max_c=T.Max"
METEOSTAT = ("date", "tavg", "tmin", "tmax", "prcp", "snow", "wdir", "tsun")
FORMS = {
    "kelvin and metres": (era5, options(ERA5)),
    "decimal commas and day first": (
        euro,
        options(EURO, decimal=",", date_format="%d.%m.%Y"),
    ),
    "degF and inches": (gsod, options(GSOD)),
    "no line of names": (meteostat, options(SHORT, header=METEOSTAT)),
    "a title, units, blanks and tabs": (silo, options(SILO, skip=1)),
}


def write(folder: Path, text: str, name: str = "days.csv") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def fault(path: Path, how: ReadOptions) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path, "csv", how)
    return caught.value.faults[0]


@pytest.mark.parametrize("form", FORMS)
def test_a_table_of_every_form_is_read_in_mm_and_degrees_celsius(tmp_path, form):
    text, how = FORMS[form]
    w = read(write(tmp_path, text()), "csv", how)
    np.testing.assert_allclose(w.rain_mm, RAIN, atol=2e-3)
    np.testing.assert_allclose(w.t_min_c, LOW, atol=6e-3)
    np.testing.assert_allclose(w.t_max_c, HIGH, atol=6e-3)
    assert str(w.date[0]) == "2018-01-01" and w.date.size == DAYS


@pytest.mark.parametrize(
    ("text", "how", "where", "remedy"),
    [
        (era5, options(ERA5.replace("-273.15", "")), ":2: t_max_c", "in K? t_max_c=t2m_max-273.15"),
        (gsod, options("date=DATE,rain_mm=PRCP*25.4,t_max_c=MAX*2"), "t_max_c", "in degF? t_max_c"),
        (era5, options("date=valid_time,rain_mm=tp*-1000"), ":2: rain_mm", "negative rain"),
        (euro, options(EURO, decimal=","), ":2: Datum", 'date_format = "%d.%m.%Y"'),
        (euro, options(EURO, date_format="%d.%m.%Y"), ":2: Niederschlag", 'decimal = ","?'),
        (meteostat, options(SHORT), "no column 'date' for date", "--header NAME"),
        (silo, options(SILO), "no column 'Date' for date", "title above the line of names?"),
        (silo, options(SILO.replace("Rain", "rain"), skip=1), "no column 'rain' for rain_mm", ""),
        (era5, options(ERA5.replace("*1000", "*0")), "rain_mm: column 'tp*0'", "factor is 0"),
    ],
)
def test_a_refusal_names_the_place_and_what_reads_the_file(tmp_path, text, how, where, remedy):
    found = fault(write(tmp_path, text()), how)
    assert "days.csv" in found and where in found and remedy in found


def test_temperature_in_tenths_is_refused_with_the_factor_and_read_with_it(tmp_path):
    rows = [f"{day(i)},{RAIN[i] * 10:.0f},{LOW[i] * 10 - 54:.0f},150" for i in range(DAYS)]
    path = write(tmp_path, "\n".join(["date,PRCP,TMIN,TMAX", *rows]))  # TMIN: -99 too
    tenths = "rain_mm=PRCP*0.1,t_min_c=TMIN*0.1,t_max_c=TMAX"
    assert "in tenths of a degree? t_max_c=TMAX*0.1" in fault(path, options(tenths))
    w = read(path, "csv", options(tenths + "*0.1"))
    np.testing.assert_allclose(w.t_min_c, np.array(LOW) - 5.4)  # -9.9 degC is not the code -99


@pytest.mark.parametrize("code", ["-999", "-9999", "-99.0", "99.99", "", "NA", "-777", "trace?"])
def test_a_code_is_a_missing_day_that_is_counted_and_ends_nothing(tmp_path, caplog, code):
    rows = meteostat().splitlines()
    rows[7] = f"{day(7)},2.4,-6.9,1.9,{code},,270,"
    path = write(tmp_path, "\n".join(rows))
    w = read(path, "csv", options(SHORT, header=METEOSTAT, missing=("-777", "trace?")))
    assert np.flatnonzero(np.isnan(w.rain_mm)).tolist() == [7]
    assert np.isfinite(w.t_min_c).all()
    assert "rain_mm (column prcp) is missing on 1 of 40 days, the first 2018-01-08" in caplog.text


def test_a_daily_file_of_the_dwd_is_read_and_its_code_is_missing(tmp_path):
    head = "STATIONS_ID;MESS_DATUM;QN_3;  FX;QN_4; RSK; TXK; TNK;eor"
    rows = [f"  1358;{day(i):%Y%m%d};   10;-999;    3; {RAIN[i]:5};{HIGH[i]:6};{LOW[i]:6};eor"
            for i in range(DAYS)]  # fmt: skip
    rows[3] = rows[3].replace("  1.9", "-999 ")
    path = write(tmp_path, "\n".join([head, *rows]) + "\n")
    w = read(path, "csv", options("date=MESS_DATUM,rain_mm=RSK,t_min_c=TNK,t_max_c=TXK"))
    np.testing.assert_array_equal(w.rain_mm, RAIN)
    assert np.flatnonzero(np.isnan(w.t_max_c)).tolist() == [3]


def test_a_missing_temperature_of_gsod_is_no_temperature(tmp_path):
    path = write(tmp_path, gsod().replace(f"{LOW[2] * 9 / 5 + 32:.2f}", "9999.9", 1))
    w = read(path, "csv", options(GSOD))
    assert np.flatnonzero(np.isnan(w.t_min_c)).tolist() == [2]


def test_a_missing_day_is_counted_and_many_are_refused(tmp_path, caplog):
    rows = meteostat().splitlines()
    how = options(SHORT, header=METEOSTAT)
    w = read(write(tmp_path, "\n".join(rows[:7] + rows[9:])), "csv", how)
    assert w.date.size == DAYS and np.isnan(w.t_max_c[7:9]).all()
    np.testing.assert_array_equal(w.rain_mm[9:], RAIN[9:])
    assert "2 of 40 days are missing" in caplog.text
    found = fault(write(tmp_path, "\n".join(rows[:7] + rows[12:])), how)
    assert ":8: date 2018-01-13: 5 days missing after 2018-01-07" in found
    empty = [row.replace(",1.8,", ",,") for row in rows]  # every fourth day
    assert ":1: rain_mm (column prcp): empty on 2018-01-01" in fault(
        write(tmp_path, "\n".join(empty)), how
    )


def test_a_row_without_a_date_is_counted_and_left_out(tmp_path, caplog):
    text = meteostat() + ",2.4,,,72.0,,,\n"
    w = read(write(tmp_path, text), "csv", options(SHORT, header=METEOSTAT))
    assert w.date.size == DAYS
    assert "1 of 41 rows have no date and are left out" in caplog.text


def test_a_year_of_rain_in_metres_or_inches_is_refused(tmp_path):
    rows = [f"{FIRST + datetime.timedelta(days=i)},0.002" for i in range(200)]
    path = write(tmp_path, "\n".join(["date,tp", *rows]))
    assert "0.4 mm in 200 days; in m or inches? rain_mm=tp*1000" in fault(
        path, options("rain_mm=tp")
    )
    assert read(path, "csv", options("rain_mm=tp*1000")).rain_mm[0] == 2.0


def test_year_month_and_day_may_stand_in_three_columns(tmp_path):
    rows = [f"2018,{day(i).month},{day(i).day},{RAIN[i]}" for i in range(DAYS)]
    path = write(tmp_path, "\n".join(["YEAR,MO,DY,rain", *rows]))
    w = read(path, "csv", options("date=YEAR+MO+DY,rain_mm=rain"))
    assert str(w.date[-1]) == "2018-02-09"
    assert "no column 'DAY' for date" in fault(path, options("date=YEAR+MO+DAY,rain_mm=rain"))


def test_the_date_of_a_time_with_an_offset_is_the_one_written(tmp_path):
    rows = [f"{day(i)}T00:00:00+02:00,{RAIN[i]}" for i in range(DAYS)]
    path = write(tmp_path, "\n".join(["date,rain_mm", *rows]))
    assert str(read(path, "csv", ReadOptions(52.0, 20.0)).date[0]) == "2018-01-01"


def test_utf_16_and_compressed_tables_are_read(tmp_path):
    wide = tmp_path / "wide.csv"
    wide.write_bytes(era5().encode("utf-16"))
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(era5().encode()))
    for path in (wide, packed):
        assert read(path, "csv", options(ERA5)).date.size == DAYS


def test_a_spreadsheet_is_read(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [("day", "rain"), *((day(i), RAIN[i]) for i in range(DAYS))]:
        book.active.append(row)
    book.save(tmp_path / "days.xlsx")
    w = read(tmp_path / "days.xlsx", "csv", options("date=day,rain_mm=rain"))
    np.testing.assert_array_equal(w.rain_mm, RAIN)


def test_how_a_table_is_written_is_refused_for_the_format_of_a_service(tmp_path):
    with pytest.raises(ConfigError, match="skip, missing: only of format csv"):
        read(write(tmp_path, era5()), "knmi", ReadOptions(skip=1, missing=("x",)))
    with pytest.raises(ConfigError, match="both a comma"):
        read(write(tmp_path, era5()), "csv", ReadOptions(delimiter=",", decimal=","))


NAMES = "date,tavg,tmin,tmax,prcp,snow,wdir,wspd,wpgt,pres,tsun"
SILO_CSV = "date=YYYY-MM-DD,rain_mm=daily_rain,t_min_c=min_temp,t_max_c=max_temp"
CASES: dict[str, tuple[str, dict[str, str], float]] = {  # columns, options, rain of the first day
    "era5.csv": (ERA5, {}, 1.8),
    "euro.csv": (EURO, {"decimal": ",", "date_format": "%d.%m.%Y"}, 1.8),
    "gsod.csv": (GSOD, {}, 1.778),
    "meteostat.csv": (SHORT, {"header": NAMES}, 1.8),
    "silo.csv": (SILO_CSV, {}, 1.8),
    "silo.txt": (SILO, {"delimiter": " ", "skip": "1"}, 1.8),
}


@pytest.mark.parametrize("name", CASES)
def test_public_files_are_read_by_the_command(shared, tmp_path, capsys, name):
    path = shared / "cases" / "17-weather-units" / name
    if not path.is_file():
        pytest.skip(f"no {path}")
    columns, how, rain_mm = CASES[name]
    kinds = {"header": lambda text: tuple(text.split(",")), "skip": int}
    w = read(path, "csv", options(columns, **{k: kinds.get(k, str)(v) for k, v in how.items()}))
    assert w.rain_mm[0] == pytest.approx(rain_mm) and w.t_min_c[0] == pytest.approx(-4.5)
    assert w.date.size >= 397 and np.isnan(w.rain_mm).sum() == (2 if name == "gsod.csv" else 0)
    words = ["weather", "fit", str(path), "--format", "csv", "--columns", columns]
    words += [word for k, v in how.items() for word in (f"--{k.replace('_', '-')}", v)]
    words += ["--latitude", "52", "--altitude", "20", "--out", str(tmp_path / "o.toml")]
    assert main(words) == 2
    text = capsys.readouterr()
    assert f"{w.date.size} days" in text.out
    assert "1.1 years are too few" in text.err  # it is read; a climate needs three years
