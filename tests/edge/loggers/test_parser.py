"""Lines that loggers wrote, and what noise makes of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from epithermal_edge.errors import ConfigError, FrameError
from epithermal_edge.loggers.parser import (
    RECORDS_HEADER,
    Context,
    Options,
    parse,
    start,
)
from epithermal_edge.records import HOUSEKEEPING, NAN, RawRecord

HYDROINNOVA = (
    b"//RecordNum,Date Time(UTC),P1_mb,P3_mb,P4_mb,T1_C,T2_C,T3_C,T4_C,T_CS215,RH1,RH2,RH_CS215,"
    b"Vbat,N1Cts,N2Cts,N1ET_sec,N2ET_sec,N1T_C,N1RH,N2T_C,N2RH,D1,"
)
HYDROINNOVA_ROW = (
    b"18380, 2017/01/01 00:03:02, 1008.4,1007.35,1007.77,    0.0, 128.9,  -0.4, 254.6,  -1.5, 83.9,"
    b"119.0, 80.3, 13.074,      105,      160,     902,     902,   2.1, 68.7,   2.1, 68.6,        0"
)
PORTAL = (
    b"Site ID,CrnsID,Message Date,FI,Jung,DOM,Hour,Min,BV,P1 (mb),P4 (mb),T7 C,H7 %,Rain Tips,E1,"
    b"N1/Samp,N2/Samp,N3/Samp"
)
PORTAL_ROW = (
    b"273,10280725,2024-10-01 00:00:00 UTC,1.124,146.761,1,0,0,13.1,788.3,789.7,25.0,14.0,3,1804,"
    b"6052,1974,0"
)
TOA5 = (
    b'"TOA5","10277","CR300","10277","CR300-CELL205.Std.10.04","CPU:KS003.CR300","37658","Table1"',
    b'"TIMESTAMP","RECORD","station","counts_1_Tot","counts_2_Tot","precipitation_Tot",'
    b'"air_temperature_Avg","barometric_pressure_Avg","relative_humidity_Avg","NDVI_Avg"',
    b'"TS","RN","name","counts","counts","mm","celsius","mbar","%",""',
    b'"","","Smp","Tot","Tot","Tot","Avg","Avg","Avg","Avg"',
)
FINAPP = (
    b"Datetime,neutrons,muons,gamma,integration_time(s),V_in(Volt),temperature_in(C),"
    b"temperature_ext(C),ur(%),pressure(hPa)"
)
FINAPP_ROW = b"2023-12-10 15:00:00,1726,7805,,3609,11.4,10.7,8.6,78.2,991.3"
JSON_ROW = (
    b'{"RecordNum":1,"DateTimeUTC":"2026/03/25 13:20:52","P1_mb":984.58,"P2_mb":983.65,'
    b'"T1_degC":15.6,"RH1":40.2,"Vbat":14.05,"P3_mb":983.90,"N1Cts":54,"N1ET_sec":44,'
    b'"N1T(C)":11.3,"N1RH":0.2}'
)
STYX_ROW = (
    b"900\t1658981360\t12.70\t21.50\t95400.50\t28.80\t13.70\t1001.20\t55.20\t16100.00\t2.80\t2.50"
    b"\t23.10\t14600.00\t4.80\t7.60\t26.00\t13800.00\t6.60\t11.60\t26.80\t0.2500\t07/28/2022"
    b"\t04:09:20\t"
)
RECORDS_PLAIN = RECORDS_HEADER.removesuffix(b",crc32\n")  # as written by hand
RECORDS_ROW = b"2026-03-25T13:00:00Z,3600,1234,984.5,15.6,40.2"


def utc(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()


def read(context: Context, lines: Iterable[bytes]) -> tuple[Context, list[RawRecord]]:
    records = []
    for line in lines:
        context, record = parse(context, line)
        if record is not None:
            records.append(record)
    return context, records


def after(dialect: str, *header: bytes, options: Options | None = None) -> Context:
    return read(start(dialect, options), header)[0]


def same(a: RawRecord, b: RawRecord) -> bool:
    pairs = zip(dataclasses.astuple(a), dataclasses.astuple(b), strict=True)
    return all(x == y or (math.isnan(x) and math.isnan(y)) for x, y in pairs)


def bare(record: RawRecord) -> RawRecord:
    """Return the record without its housekeeping fields and extra channels."""
    return dataclasses.replace(record, **dict.fromkeys(HOUSEKEEPING, NAN), channels={})


LINES = [
    pytest.param(
        *("hydroinnova", None, [b"//Hydroinnova CRS-1000 Data", b"//CellSig=16"]),
        *(HYDROINNOVA, HYDROINNOVA_ROW),
        RawRecord(utc(2017, 1, 1, 0, 3, 2), 902, 105, 1007.77, -1.5, 80.3),
        id="CRS-1000 with trailing comma in the header only",
    ),
    pytest.param(
        *("hydroinnova", None, []),
        b"//RecordNum,Date Time(UTC),P4_mb,P1_mb,T1_C,RH1,T_CS215,RH_CS215,Vbat,N1Cts,N1ET_sec,"
        b"N1T_C,N1RH",
        b"1, 2019/12/01 00:00:00, 961.45, 961.4, 7.2, 13.3, 4.7, 50.9, 12.802, 2364, 3601, 10.5, 0",
        RawRecord(utc(2019, 12, 1), 3601, 2364, 961.45, 4.7, 50.9),
        id="the same maker, other columns in another order",
    ),
    pytest.param(
        *("hydroinnova", Options(count_columns=("N1Cts", "N2Cts", "N8 cts")), []),
        b"//RecordNum,Date Time(UTC),P3_mb,P4_mb,P1_mb,T1_C,RH1,T7_C,H7,Vbat,N1Cts,N2Cts,N3Cts,"
        b"N4Cts,N5Cts,N6Cts,N7Cts,N8Cts, N1ETsec , N3ETsec , N5ETsec , N7ETsec , N1T(C),N1RH ,"
        b" N5T(C),N5RH ,\n"
        b"//GpsUTC, LatDec, LongDec, Alt, Qual, NumSats, HDOP, Speed_kmh, COG, Quality, strDate",
        b"4, 2018/05/01 14:17:00,  962.64,  962.5,  961.1,   23.4, 35.4,  21.2, 72.2, 13.282,"
        b"       33,       48,       35,       32,       41,       38,       29,       38,      60,"
        b"      60,      60,      60,  24.3, 23.1,  23.7, 16.0, 0141336,  38.68214,  97.37199,"
        b"388.2,1,11,0.8,   3.89,356.30,A,010518",
        RawRecord(utc(2018, 5, 1, 14, 17), 60, 33 + 48 + 38, 962.5, 21.2, 72.2),
        id="rover with a header in two lines, three tubes summed",
    ),
    pytest.param(
        *("hydroinnova", Options(use_inside_air=True), []),
        b"RecordNum\tTime..UTC.\tP..mbar.\tT1..C.\tRH\tBattV.V.\tN1C\tN2C\tN1ET.s.\tN2ET.s.",
        b"1\t2010-09-17 12:22:42\t1011.4\t23.6\t49.4\t12.353\t5\t0\t10\t0",
        RawRecord(utc(2010, 9, 17, 12, 22, 42), 10, 5, 1011.4, 23.6, 49.4),
        id="early CRS-1000, tabs, only air of the box",
    ),
    pytest.param(
        *("quaesta_json", None, [], b"", JSON_ROW),
        RawRecord(utc(2026, 3, 25, 13, 20, 52), 44, 54, 983.90),
        id="JSON; P4 absent, P3 before P2; air of the box not used",
    ),
    pytest.param(
        *("portal", Options(rain_mm_per_tip=0.254), [], PORTAL, PORTAL_ROW),
        RawRecord(utc(2024, 10, 1), 1804, 6052, 789.7, 25.0, 14.0, 0.254 * 3, NAN, 146.761),
        id="portal with rain and incoming flux",
    ),
    pytest.param(
        *("quaesta_web", Options(interval_s=900.0), []),
        b"UTC, N1 [cph], N2 [cph], P1 [mb], Batt [V], H7 [%], P4 [mb], T7 [C], NMcounts, fbar, "
        b"fhum, fsol, CR VWC, B/M,",
        b"2021-06-01 18:04:00, 24, 14, 0.0, 14.1, 157.0, 876.2, -99.0, 165.490, 1.049, 1.000, 0.961"
        b", -0.527, 0.5833, 2021-06-01 12:04:00",
        RawRecord(utc(2021, 6, 1, 18, 4), 900, 6, 876.2, incoming=165.49),
        id="web page: a rate, an unnamed last column, dead sensors",
    ),
    pytest.param(
        *("toa5", Options(utc_offset_h=-6.0), list(TOA5[:1]), b"\n".join(TOA5[1:])),
        b'"2021-09-22 12:00:00",0,"KS003",755,870,0.2,22.3,973,41.3,"NAN"',
        RawRecord(utc(2021, 9, 22, 18), 3600, 755, 973, 22.3, 41.3, 0.2),
        id="TOA5 in local time",
    ),
    pytest.param(
        *("finapp", None, [], FINAPP, FINAPP_ROW),
        RawRecord(utc(2023, 12, 10, 15), 3609, 1726, 991.3, 8.6, 78.2),
        id="Finapp",
    ),
    pytest.param(
        *("finapp", None, [], FINAPP, b"2023-11-24 01:00:00,,,,,,,,,"),
        RawRecord(utc(2023, 11, 24, 1), NAN, NAN),
        id="Finapp before start-up: missing, not damaged",
    ),
    pytest.param(
        *("finapp", None, [], FINAPP),
        b"2023-11-24 13:00:00,1915,7701,,132.5,12.5,12.3,4.3,77.8,985.5",
        RawRecord(utc(2023, 11, 24, 13), 132.5, NAN, 985.5, 4.3, 77.8),
        id="Finapp: an hour's counts beside two minutes do not belong together",
    ),
    pytest.param(
        *("cosmos_europe", None, []),
        b"DateTime_utc,NeutronCount_Epithermal_Cum1h,NeutronCount_Slow_Cum1h,AirTemperature,"
        b"AirHumidity_Relative,AirPressure,Precipitation,AirTemperature_Sensor2,"
        b"AirHumidity_Relative_Sensor2",
        b"2014-01-09 12:00:00+00:00,715.0,431.0,,,994.3,,10.1,84.4",
        RawRecord(utc(2014, 1, 9, 12), 3600, 715, 994.3),
        id="COSMOS-Europe",
    ),
    pytest.param(
        *("cosmos", None, [], b"YYYY-MM-DD HH:MM MODE UNMO PRESS TEM RH BATT"),
        b"2010-07-21 03:20 1013 541 976.1 33 14 12.7",
        RawRecord(utc(2010, 7, 21, 3, 20), 3600, 1013, 976.1),
        id="COSMOS level 1",
    ),
    pytest.param(
        *("cosmoz", None, [], b"UTC_TIMESTAMP,COUNT,PRESSURE_mb,PRESSURE2_mb,EXTERNAL_RH_%"),
        b"2015-02-03T04:00:00Z,1013,976.1,976.3,55.5",
        RawRecord(utc(2015, 2, 3, 4), 3600, 1013, 976.3, NAN, 55.5),
        id="CosmOz, the finer barometer first",
    ),
    pytest.param(
        *("cosmoz", Options(rain_mm_per_tip=0.2), []),
        b"UTC_TIMESTAMP,COUNT,PRESSURE_mb,RAIN_COUNT,PRESSURE2_mb,EXTERNAL_TEMPERATURE_oC,FLAG",
        b"2015-02-03T04:00:00.000000Z, 1013.000, 976.000, 3.000, 0.000, 18.500, 0",
        RawRecord(utc(2015, 2, 3, 4), 3600, 1013, 976, 18.5, NAN, 0.2 * 3),
        id="CosmOz level 1 with tips, without the finer barometer",
    ),
    pytest.param(
        *("cosmoz", None, []),
        b"UTC_TIMESTAMP              COUNT    PRESS   BATT   RAIN   PRES2   EX_TEM   EX_RH\n"
        b"YYYY-MM-DDTHH:MM:SSZ         /hr       mb      V  COUNT      mb        C       %",
        b"2015-02-03T04:00:00.000000Z  1013.000  976.000 12.900 0.000 976.310  18.500 55.500",
        RawRecord(utc(2015, 2, 3, 4), 3600, 1013, 976.31, 18.5, 55.5),
        id="CosmOz as text with blanks",
    ),
    pytest.param(
        *("rdt", Options(utc_offset_h=-5.0, count_columns=("counts_1", "counts_3")), [], b""),
        b"4/10/2020 9:47,983.8,29,9.6,-7.4,14.4,848,716,742",
        RawRecord(utc(2020, 4, 10, 14, 47), 3600, 848 + 742, 983.8, 9.6, 29),
        id="RDT without header",
    ),
    pytest.param(
        *("styx", Options(interval_s=900.0), [], b"", STYX_ROW),
        RawRecord(utc(2022, 7, 28, 4, 9, 20), 900, 225, 1001.2, 13.7, 55.2),
        id="StyX: a rate, date and time at the end, the pressure of the air outside",
    ),
    pytest.param(
        *("records", None, [b"# made by hand"]),
        RECORDS_PLAIN,
        RECORDS_ROW + b",0.5,,150.25,12.5,7,600",
        RawRecord(utc(2026, 3, 25, 13), 3600, 1234, 984.5, 15.6, 40.2, 0.5, NAN, 150.25),
        id="our own",
    ),
]


@pytest.mark.parametrize(("dialect", "options", "before", "header", "row", "record"), LINES)
def test_a_line_of_a_logger_gives_its_record(dialect, options, before, header, row, record):
    context, records = read(start(dialect, options), [*before, *header.split(b"\n"), b"", row])
    assert len(records) == 1
    assert same(bare(records[0]), record)
    padded = b"\x03" + row + (b"," if dialect != "quaesta_json" else b"")
    if dialect in ("hydroinnova", "portal") and b"\t" not in row:
        assert same(parse(context, padded)[1], records[0])  # ETX between files, trailing comma


@pytest.mark.parametrize(
    ("dialect", "options", "header", "row", "housekeeping"),
    [
        ("hydroinnova", None, HYDROINNOVA, HYDROINNOVA_ROW, (13.074, 68.7, NAN)),
        (
            *("hydroinnova", Options(count_columns=("N1Cts", "N2Cts"))),
            *(HYDROINNOVA, HYDROINNOVA_ROW, (13.074, 68.7, 105.0)),
        ),
        (
            *("hydroinnova", None, HYDROINNOVA),
            *(HYDROINNOVA_ROW.replace(b"13.074", b"1x.074"), (NAN, 68.7, NAN)),
        ),
        ("portal", None, PORTAL, PORTAL_ROW, (13.1, NAN, NAN)),
        ("finapp", None, FINAPP, FINAPP_ROW, (11.4, NAN, NAN)),
        ("quaesta_json", None, b"", JSON_ROW, (14.05, 0.2, NAN)),
        ("records", None, RECORDS_PLAIN, RECORDS_ROW + b",,,,12.5,7,600", (12.5, 7.0, 600.0)),
    ],
)
def test_housekeeping_is_read_and_its_damage_does_not_reject_the_record(
    dialect, options, header, row, housekeeping
):
    _, records = read(start(dialect, options), [header, row])
    values = tuple(getattr(records[0], name) for name in HOUSEKEEPING)
    assert values == pytest.approx(housekeeping, nan_ok=True)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (b",1007.77", b",   0.0", "pressure_hpa"),
        (b"  -1.5", b" 128.9", "temperature_c"),
        (b"  -1.5", b" 255.5", "temperature_c"),
        (b" 80.3", b"119.0", "relative_humidity_pct"),
        (b" 80.3", b"  NAN", "relative_humidity_pct"),
        (b"      105", b"    65535", "counts"),
        (b"     902,     902", b"   65535,     902", "duration_s"),
        (b"     902,     902", b"       0,     902", "duration_s"),
        (b"  -1.5", b"-999.0", "temperature_c"),
    ],
)
def test_a_sentinel_affects_only_its_own_field(old, new, field):
    context = after("hydroinnova", HYDROINNOVA)
    whole = parse(context, HYDROINNOVA_ROW)[1]
    record = parse(context, HYDROINNOVA_ROW.replace(old, new, 1))[1]
    value = getattr(record, field)
    assert value == 1007.35 if field == "pressure_hpa" else math.isnan(value)  # P3 stands in
    assert same(dataclasses.replace(record, **{field: getattr(whole, field)}), whole)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b",1007.77", b",   xW8", "P4_mb: 'xW8' is not a number"),
        (b",1007.77", b",  1.77", "P4_mb: 1.77 is outside of 300 to 1100"),
        (b"  -1.5", b"  61.0", "T_CS215: 61.0 is outside"),
        (b" 80.3", b"180.3", "RH_CS215: 180.3 is outside"),
        (b"      105", b"    105.5", "N1Cts: 105.5 counts are not whole"),
        (b"      105", b"      10 ", "N1Cts: '10 ' is not a number"),
        (b"     902,     902", b"   90200,     902", "N1ET_sec: 90200 is outside"),
        (b"     902,     902", b"    -902,     902", "N1ET_sec: -902 is outside"),
        (b"2017/01/01", b"2017/02/29", "is not a time"),
        (b"2017/01/01", b"2017-01/01", "is not a time"),
        (b"2017/01/01", b"1917/01/01", "is not a time"),
        (b"00:03:02", b"00:63:02", "is not a time"),
        (b" 80.3, 13.074,      105,", b" 80.3,", "21 fields where the header has 23"),
        (b", 13.074", b", 13,074,", "25 fields where the header has 23"),
    ],
)
def test_damage_in_a_used_column_rejects_the_line_with_the_reason(old, new, reason):
    context = after("hydroinnova", HYDROINNOVA)
    with pytest.raises(FrameError) as caught:
        parse(context, HYDROINNOVA_ROW.replace(old, new, 1))
    assert reason in str(caught.value)


def test_a_comment_of_three_names_continues_the_header():
    context = after("hydroinnova", HYDROINNOVA, b"//GpsUTC,LatDec,LongDec")
    record = parse(context, HYDROINNOVA_ROW + b", 120000, 51.0, 7.0")[1]
    assert same(record, parse(after("hydroinnova", HYDROINNOVA), HYDROINNOVA_ROW)[1])


@pytest.mark.parametrize("used", [b"N1Cts", b"N1ET_sec", b"P4_mb", b"Date Time(UTC)"])
def test_a_header_with_a_used_column_twice_is_rejected(used):
    with pytest.raises(FrameError, match="several columns are named"):
        after("hydroinnova", HYDROINNOVA.replace(b"Vbat", used))


def test_damage_in_a_column_that_is_not_used_does_not_matter():
    context = after("hydroinnova", HYDROINNOVA)
    damaged = HYDROINNOVA_ROW.replace(b" 1008.4", b" 1\xff0x.4").replace(b"13.074", b"1}.074")
    assert same(bare(parse(context, damaged)[1]), bare(parse(context, HYDROINNOVA_ROW)[1]))


def test_a_delimiter_lost_or_made_by_noise_never_shifts_the_columns():
    context = after("hydroinnova", HYDROINNOVA)
    lost = HYDROINNOVA_ROW.replace(b" 128.9,", b" 128.9x")  # between two columns of no use
    made = HYDROINNOVA_ROW.replace(b"254.6", b"25,.6")
    for ending in (b"", b","):  # a logger either closes its lines or it does not
        for bad, n in ((lost, 22), (made, 24)):
            with pytest.raises(FrameError, match=f"{n + len(ending)} fields"):
                parse(parse(context, HYDROINNOVA_ROW + ending)[0], bad + ending)


@pytest.mark.parametrize("at", [1, 18, -5])
def test_a_nul_anywhere_in_a_line_is_a_byte_lost_on_the_wire(at):
    line = HYDROINNOVA_ROW[:at] + b"\0" + HYDROINNOVA_ROW[at:]
    with pytest.raises(FrameError, match="a byte was lost on the wire"):
        parse(after("hydroinnova", HYDROINNOVA), line)


def test_a_new_header_replaces_the_columns_and_a_damaged_one_does_not():
    context = after("hydroinnova", HYDROINNOVA)
    for header, reason in (
        (HYDROINNOVA.replace(b"N1Cts", b"N1Cxs"), "no column for counts"),
        (HYDROINNOVA.replace(b"N1ET_sec,N2ET_sec", b"N1EX_sec,N2EX_sec"), "counting time"),
        (HYDROINNOVA.replace(b"P1_mb", b"P4_mb"), "several columns are named P4_mb"),
    ):
        with pytest.raises(FrameError, match=reason):
            parse(context, header)
    assert parse(context, HYDROINNOVA_ROW)[1].counts == 105
    swapped = after("hydroinnova", HYDROINNOVA.replace(b"N1Cts,N2Cts", b"N2Cts,N1Cts"))
    assert parse(swapped, HYDROINNOVA_ROW)[1].counts == 160


def test_rain_in_millimetres_is_trusted_more_than_tips_of_a_gauge():
    header, tips = PORTAL.replace(b",FI,", b",Rain mm,"), Options(rain_mm_per_tip=0.2)
    assert parse(after("portal", header, options=tips), PORTAL_ROW)[1].rain_mm == 1.124
    assert parse(after("portal", PORTAL, options=tips), PORTAL_ROW)[1].rain_mm == 3 * 0.2


@pytest.mark.parametrize("comment", [b"//Time (UTC)", b"//two, cells", b"//"])
def test_a_comment_of_one_or_two_cells_is_neither_a_header_nor_more_of_one(comment):
    header = HYDROINNOVA  # after its last delimiter, another line may continue it
    rows = [read(after("hydroinnova", *lines), [HYDROINNOVA_ROW])[1]
            for lines in ([header], [header, comment])]  # fmt: skip
    assert same(rows[0][0], rows[1][0])


def test_without_a_header_the_error_names_the_option_columns():
    with pytest.raises(FrameError, match="set columns"):
        parse(start("hydroinnova"), HYDROINNOVA_ROW)
    names = tuple(HYDROINNOVA.decode().strip("/,").split(","))
    _, record = parse(start("hydroinnova", Options(columns=names)), HYDROINNOVA_ROW)
    assert same(record, parse(after("hydroinnova", HYDROINNOVA), HYDROINNOVA_ROW)[1])


def test_a_header_does_not_replace_the_configured_columns():
    names = ("time_utc", "counts", "-", "temperature_c", "relative_humidity_pct")
    context = start("cosmos_europe", Options(columns=names))
    context, _ = parse(context, b"DateTime_utc,N,AirPressure,air_t_c,rh_pct")
    _, record = parse(context, b"2024-05-01 01:00:00,700,1001.0,12.5,80.0")
    assert (record.temperature_c, record.relative_humidity_pct) == (12.5, 80.0)
    assert math.isnan(record.pressure_hpa)  # columns does not name it


def test_no_line_is_read_while_a_header_contradicts_the_configured_columns():
    names = ("time_utc", "counts", "temperature_c", "pressure_hpa")
    row = b"2024-05-01 01:00:00,700,12.5,1001.0"
    context = start("cosmos_europe", Options(columns=names))
    context, _ = parse(context, b"DateTime_utc,N,AirPressure,AirTemperature")
    reason = "column 3: the header names 'AirPressure' where columns names 'temperature_c'"
    with pytest.raises(FrameError, match=reason):
        parse(context, row)
    context, _ = parse(context, b"DateTime_utc,N,AirTemperature,AirPressure")
    assert parse(context, row)[1].pressure_hpa == 1001.0


def test_a_header_of_another_width_does_not_replace_the_configured_columns():
    context = start("cosmos_europe", Options(columns=("time_utc", "counts", "pressure_hpa")))
    with pytest.raises(FrameError, match="a header of 2 names, columns has 3: not used"):
        parse(context, b"DateTime_utc,NeutronCount_Epithermal_Cum1h")
    assert parse(context, b"2024-05-01 01:00:00,700,1001.0")[1].pressure_hpa == 1001.0


@pytest.mark.parametrize(
    ("dialect", "options", "reason"),
    [
        ("hydroinova", Options(), "did you mean 'hydroinnova'"),
        ("xyz", Options(), "one of: hydroinnova"),
        ("portal", Options(columns=("a", "b")), "no column for the time"),
        ("portal", Options(columns=("time_utc", "b")), "no column for counts"),
        ("rdt", Options(count_columns=("counts_4",)), "no count column counts_4"),
        ("rdt", Options(count_columns=("counts_1", "counts1")), "names one twice"),
    ],
)
def test_invalid_options_are_rejected_at_the_start(dialect, options, reason):
    with pytest.raises(ConfigError, match=reason):
        start(dialect, options)


def test_tubes_are_summed_over_the_mean_of_their_times_only_when_these_agree():
    options = Options(count_columns=("N1Cts", "N2Cts"))
    context = after("hydroinnova", HYDROINNOVA, options=options)
    row = HYDROINNOVA_ROW.replace(b"902,     902", b"890,     902")
    record = parse(context, row)[1]
    assert (record.counts, record.duration_s) == (265, 896)
    assert (
        parse(context, HYDROINNOVA_ROW.replace(b"902,     902", b"860,     902"))[1].counts == 265
    )
    with pytest.raises(FrameError, match="counting times of the tubes differ: 856 to 902 s"):
        parse(context, HYDROINNOVA_ROW.replace(b"902,     902", b"856,     902"))


def numbered(day: int, hour: int, minute: int, number: int) -> bytes:
    stamp = f"2021-09-{day:02} {hour:02}:{minute:02}:00"
    return f'"{stamp}",{number},"K",755,870,0,22.3,973,41,"NAN"'.encode()


def test_the_counting_time_is_the_configured_one_after_lost_lines_and_an_unknown_time():
    lines = [numbered(22, 12, 0, 146), numbered(22, 14, 0, 147), numbered(22, 17, 0, 150)]
    _, records = read(after("toa5", *TOA5), lines)
    assert [r.duration_s for r in records] == pytest.approx([3600.0, NAN, 3600.0], nan_ok=True)


def test_the_counting_time_is_derived_from_stamps_and_line_numbers():
    row = numbered
    stream = [
        (row(22, 12, 0, 146), 3600),  # nothing known: the configured interval
        (row(22, 12, 0, 146), 3600),  # sent twice
        (row(22, 14, 0, 147), NAN),  # the next number after two hours: it was off
        (row(22, 15, 0, 148), 3600),
        (row(22, 15, 45, 0), 2700),  # a new program
        (row(22, 16, 0, 1), 900),
        (row(22, 16, 45, 4), 900),  # two lines lost on the way
        (row(22, 17, 0, 5), 900),
    ]
    _, records = read(after("toa5", *TOA5), [line for line, _ in stream])
    assert [r.duration_s for r in records] == pytest.approx([s for _, s in stream], nan_ok=True)


@pytest.mark.parametrize(
    ("flag", "used"),
    [("0", True), ("0.000", True), ("1", False), ("2", False), ("5", False), ("nan", False)],
)
def test_counts_that_the_archive_flags_are_missing_and_counted(flag, used):
    header = b"UTC_TIMESTAMP,COUNT,PRESSURE2_mb,EXTERNAL_RH_%,FLAG"
    row = f"2015-02-03T04:00:00Z, 1013.000, 976.310, 55.500, {flag}".encode()
    context, records = read(after("cosmoz", header), [row, row])
    counts = 1013 if used else NAN
    expected = RawRecord(utc(2015, 2, 3, 4), 3600, counts, 976.31, NAN, 55.5)
    assert same(records[0], expected) and context.flagged == (0 if used else 2)
    with pytest.raises(FrameError, match="FLAG: 'x' is not a number"):
        parse(context, row[: -len(flag)] + b"x")


UNITS_HEADER = (
    b'"TIMESTAMP","RECORD","counts_1_Tot","barometric_pressure_Avg","air_temperature_Avg",'
    b'"relative_humidity_Avg","precipitation_Tot","et0_mm"'
)


def with_units(*units: str, row: str = "980,20,50,2,1") -> RawRecord:
    line = ",".join(f'"{unit}"' for unit in ("TS", "RN", "counts", *units)).encode("latin-1")
    context = after("toa5", UNITS_HEADER, line, b'"","","Tot","Avg","Avg","Avg","Tot","Tot"')
    return parse(context, f'"2024-03-01 00:00:00",1,1200,{row}'.encode())[1]


@pytest.mark.parametrize(
    ("units", "row", "values"),
    [
        (("", "", "", "", ""), "980,20,50,2,1", (980, 20, 50, 2, 1)),
        (("mbar", "Deg C", "%", "mm", "mm"), "980,20,50,2,1", (980, 20, 50, 2, 1)),
        (("hPa", "\xb0C", "percent", "millimeters", ""), "980,20,50,2,1", (980, 20, 50, 2, 1)),
        (
            ("kPa", "Deg F", "%RH", "inch", "in"),
            "100.12,41,50,0.5,0.1",
            (1001.2, 5, 50, 12.7, 2.54),
        ),
        (
            ("in Hg", "K", "fraction", "Inches", "mm"),
            "29.53,280.15,0.5,1,1",
            (1000, 7, 50, 25.4, 1),
        ),
        (("Pa", "fahrenheit", "1", "mm", "mm"), "98000,-40,1,0,0", (980, -40, 100, 0, 0)),
        (("kPa", "degF", "%", "in", "in"), "-7999,-7999,NAN,NAN,7999", (NAN,) * 5),
    ],
)
def test_the_units_line_of_a_table_converts_its_columns(units, row, values):
    record = with_units(*units, row=row)
    found = dataclasses.astuple(record)[3:8]
    assert found == pytest.approx(values, rel=1e-4, nan_ok=True)
    assert record.counts == 1200


def test_a_column_with_an_unknown_unit_is_rejected_by_name_when_it_is_used():
    reason = "air_temperature_Avg: unit 'Deg R' is unknown; known: degC, K, degF"
    with pytest.raises(FrameError, match=reason):
        with_units("mbar", "Deg R", "%", "mm", "mm")
    with pytest.raises(FrameError, match="precipitation_Tot: unit 'tips' is unknown"):
        with_units("mbar", "Deg C", "%", "tips", "mm")
    spare = UNITS_HEADER.replace(b'"RECORD"', b'"RECORD","PRESS2"')
    row = b'"2024-03-01 00:00:00",1,5,1200,980,20,50,2,1'
    context = after("toa5", spare, b'"TS","RN","volts","","mbar","Deg C","%","mm","mm"')
    assert parse(context, row)[1].pressure_hpa == 980
    with pytest.raises(FrameError, match="PRESS2: unit 'volts' is unknown"):
        parse(context, row.replace(b",980,", b",NAN,"))


def test_units_are_those_of_the_newest_header():
    kelvin = b'"TS","RN","","mbar","K","%","mm","mm"'
    row = b'"2024-03-01 00:00:00",1,1200,980,20,50,2,1'
    context = after("toa5", UNITS_HEADER, kelvin.replace(b"K", b"Deg F"))
    with pytest.raises(FrameError, match="3 units where the header has 8 columns"):
        parse(context, b'"TS","RN",""')
    for lines, celsius in (
        ((kelvin.replace(b'"', b""),), -253.15),
        ((UNITS_HEADER, kelvin.replace(b"K", b"C")), 20.0),
        ((UNITS_HEADER.replace(b"RECORD", b"NO"),), 20.0),
    ):
        later = read(context, lines)[0]
        if celsius < -60.0:
            with pytest.raises(FrameError, match="air_temperature_Avg: 20 is outside"):
                parse(later, row)
        else:
            assert parse(later, row)[1].temperature_c == celsius
    assert parse(context, row)[1].temperature_c == pytest.approx(-20 / 3)


def test_inside_air_is_used_only_on_demand_and_without_an_outside_sensor():
    record = parse(start("quaesta_json", Options(use_inside_air=True)), JSON_ROW)[1]
    assert (record.temperature_c, record.relative_humidity_pct) == (15.6, 40.2)
    context = after("hydroinnova", HYDROINNOVA, options=Options(use_inside_air=True))
    dead = HYDROINNOVA_ROW.replace(b"  -1.5", b" 128.9")
    assert math.isnan(parse(context, dead)[1].temperature_c)


@pytest.mark.parametrize(
    "line",
    [b"[1, 2]", b"{}", b"5", JSON_ROW[:-1], JSON_ROW.replace(b"N1RH", b"N1Cts"), b"[" * 2000],
)
def test_what_is_not_one_json_object_is_damage(line):
    with pytest.raises(FrameError, match="JSON"):
        parse(start("quaesta_json"), line)
