"""Extra channels: what else loggers write, which no correction uses yet."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from tests.edge.loggers.test_parser import (
    FINAPP,
    FINAPP_ROW,
    HYDROINNOVA,
    HYDROINNOVA_ROW,
    JSON_ROW,
    PORTAL,
    PORTAL_ROW,
    STYX_ROW,
    TOA5,
    after,
    read,
    same,
    utc,
)

from epithermal_edge.loggers.channels import CHANNELS, extra_columns
from epithermal_edge.loggers.parser import Options, format_record, parse, start
from epithermal_edge.loggers.records_csv import records_header
from epithermal_edge.records import RawRecord

FORMATS = Path(__file__).parents[3] / "docs" / "detector-formats.md"
WEB = (
    b"UTC, N1 [cph], N2 [cph], P1 [mb], Batt [V], H7 [%], P4 [mb], T7 [C], NMcounts, fbar, "
    b"fhum, fsol, CR VWC, B/M,"
)
WEB_ROW = (
    b"2021-06-01 18:04:00, 24, 14, 0.0, 14.1, 157.0, 876.2, -99.0, 165.490, 1.049, 1.000, 0.961"
    b", -0.527, 0.5833, 2021-06-01 12:04:00"
)
TWO_TUBES = {"count_columns": ("N1Cts", "N2Cts")}


@pytest.mark.parametrize(
    ("dialect", "options", "header", "row", "channels"),
    [
        pytest.param(
            *("hydroinnova", Options(), HYDROINNOVA, HYDROINNOVA_ROW),
            {
                "tube_1_temperature_c": 2.1,
                "tube_2_counts": 160,
                "tube_2_duration_s": 902,
                "tube_2_temperature_c": 2.1,
                "tube_2_humidity_pct": 68.6,
                "housing_temperature_c": 0.0,
                "logger_humidity_pct": 83.9,
            },
            id="the bare tube beside a moderated one, and the air at both tubes",
        ),
        pytest.param(
            *("quaesta_json", Options(), b"", JSON_ROW),
            {
                "tube_1_temperature_c": 11.3,
                "housing_temperature_c": 15.6,
                "logger_humidity_pct": 40.2,
            },
            id="JSON",
        ),
        pytest.param(
            *("portal", Options(), PORTAL, PORTAL_ROW),
            {"tube_2_counts": 1974, "tube_3_counts": 0},
            id="portal",
        ),
        pytest.param(
            *("quaesta_web", Options(interval_s=900.0), WEB, WEB_ROW),
            {"tube_2_counts": 4},
            id="web page: 14 counts per hour in a quarter of an hour",
        ),
        pytest.param(
            *("toa5", Options(), b"\n".join(TOA5[1:])),
            b'"2021-09-22 12:00:00",0,"KS003",755,870,0.2,22.3,973,41.3,"NAN"',
            {"tube_2_counts": 870},
            id="TOA5",
        ),
        pytest.param(
            *("toa5", Options()),
            b'"TIMESTAMP","RECORD","counts_1_Tot","PTemp_Avg"\n"TS","RN","counts","Deg F"',
            b'"2021-09-22 12:00:00",0,755,77',
            {"housing_temperature_c": 25.0},
            id="TOA5 with the logger's temperature in degF",
        ),
        pytest.param(
            *("finapp", Options(), FINAPP),
            b"2023-12-10 15:00:00,1726,7805,31000,3609,11.4,10.7,8.6,78.2,991.3",
            {"muon_counts": 7805, "gamma_counts": 31000, "housing_temperature_c": 10.7},
            id="Finapp: muons and gamma",
        ),
        pytest.param(
            *("finapp", Options(), FINAPP),
            b"2023-11-24 13:00:00,1915,7701,,132.5,12.5,12.3,4.3,77.8,985.5",
            {"housing_temperature_c": 12.3},
            id="Finapp: an hour's muons beside two minutes do not belong together",
        ),
        pytest.param(
            *("cosmos_europe", Options()),
            b"DateTime_utc,NeutronCount_Epithermal_Cum1h,NeutronCount_Slow_Cum1h,AirTemperature,"
            b"AirPressure,AirTemperature_Sensor2,AirHumidity_Relative_Sensor2",
            b"2014-01-09 12:00:00+00:00,715.0,431.0,9.8,994.3,10.1,84.4",
            {"thermal_counts": 431, "housing_temperature_c": 10.1, "logger_humidity_pct": 84.4},
            id="COSMOS-Europe: slow neutrons",
        ),
        pytest.param(
            *("cosmos", Options(), b"YYYY-MM-DD HH:MM MODE UNMO PRESS TEM RH BATT"),
            b"2010-07-21 03:20 1013 541 976.1 33 14 12.7",
            {"thermal_counts": 541, "housing_temperature_c": 33, "logger_humidity_pct": 14},
            id="COSMOS level 1: the bare tube",
        ),
        pytest.param(
            *("cosmoz", Options()),
            b"UTC_TIMESTAMP,COUNT,PRESSURE_mb,INTERNAL_TEMPERATURE_oC,INTERNAL_RH_%,BATTERY_V",
            b"2015-02-03T04:00:00Z,1013,976.1,31.5,12.0,12.9",
            {"housing_temperature_c": 31.5},
            id="CosmOz",
        ),
        pytest.param(
            *("rdt", Options(), b"", b"4/10/2020 9:47,983.8,29,9.6,-7.4,14.4,848,716,742"),
            {"tube_2_counts": 716, "tube_3_counts": 742},
            id="RDT",
        ),
        pytest.param(
            *("styx", Options(interval_s=900.0), b"", STYX_ROW),
            {"housing_temperature_c": 21.5, "housing_pressure_hpa": 954.005},
            id="StyX: the sealed housing's pressure is not that of the air",
        ),
    ],
)
def test_what_else_a_logger_measured_is_in_the_record(dialect, options, header, row, channels):
    context, records = read(start(dialect, options), [*header.split(b"\n"), row])
    assert records[0].channels == pytest.approx(channels)
    assert context.plan is not None


def test_a_tube_that_is_summed_is_not_lost_in_the_sum():
    context = after("hydroinnova", HYDROINNOVA, options=Options(**TWO_TUBES))
    record = parse(context, HYDROINNOVA_ROW)[1]
    assert (record.counts, record.first_tube_counts) == (265, 105)
    assert record.channels["tube_2_counts"] == 160 and "tube_1_counts" not in record.channels


def test_another_counting_time_of_the_bare_tube_is_in_the_record():
    row = HYDROINNOVA_ROW.replace(b"     902,     902", b"     902,     450")
    record = parse(after("hydroinnova", HYDROINNOVA), row)[1]
    assert record.duration_s == 902 and record.channels["tube_2_duration_s"] == 450


@pytest.mark.parametrize("cell", [b"78x5", b"-5", b"7805.5", b"1e99", b"", b"-999", b"nan"])
def test_a_damaged_or_missing_channel_costs_neither_record_nor_other_channels(cell):
    context = after("finapp", FINAPP)
    whole = parse(context, FINAPP_ROW)[1]
    record = parse(context, FINAPP_ROW.replace(b"7805", cell))[1]
    assert record.channels == {"housing_temperature_c": 10.7}
    assert same(dataclasses.replace(record, channels=whole.channels), whole)


def test_air_of_the_box_that_is_used_as_air_is_not_a_channel_as_well():
    options = Options(use_inside_air=True)
    row = b"2026/03/25 13:20:52,15.6,40.2,54,44"
    context = after("hydroinnova", b"//DateTimeUTC,T1_C,RH1,N1Cts,N1ET_sec", options=options)
    record = parse(context, row)[1]
    assert (record.temperature_c, record.relative_humidity_pct) == (15.6, 40.2)
    assert record.channels == {}


def test_every_channel_goes_through_records_csv_without_a_change():
    values = {c.name: 20.0 + k for k, c in enumerate(CHANNELS)}
    values["housing_pressure_hpa"] = 954.005
    record = RawRecord(utc(2026, 3, 25), 3600.0, 1000.0, battery_v=12.5, channels=values)
    names = [name for name in extra_columns([record]) if name in values]
    assert names == list(values)
    context, records = read(
        start("records"), [records_header(names)[:-1], format_record(record, names)[:-1]]
    )
    assert same(records[0], record) and records[0].channels == values
    assert context.plan is not None
    with pytest.raises(ValueError, match="muon_counts"):
        format_record(record, names[1:])


def test_the_docs_describe_every_channel():
    text = FORMATS.read_text()
    names = {re.sub("tube_[1-8]", "tube_N", channel.name) for channel in CHANNELS}
    assert [name for name in names if f"`{name}`" not in text] == []


def test_unix_time_can_be_named_in_columns():
    options = Options(columns=("unix_s", "N_cps", "pressure_hpa"), interval_s=900.0)
    context = start("styx", options)
    record = parse(context, b"1658981360\t0.2500\t1001.20")[1]
    assert (record.end_s, record.counts, record.pressure_hpa) == (1658981360, 225, 1001.2)
    for bad in (b"165898136", b"16589813600", b"1658981x60", b"07/28/2022", b"1658981360.5"):
        with pytest.raises(Exception, match="is not a time"):
            parse(context, bad + b"\t0.2500\t1001.20")
