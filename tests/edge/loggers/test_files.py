"""Recorded files: compressed, in folders, newest first, damaged, in another format."""

from __future__ import annotations

import gzip
import math
import zipfile
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from epithermal_edge.errors import SourceError
from epithermal_edge.loggers.files import file_chunks, read_records
from epithermal_edge.loggers.parser import RECORDS_HEADER, Options, format_record
from epithermal_edge.records import RawRecord

HOUR = 3600.0
START = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


def record(hour: int, counts: float = 1000.0) -> RawRecord:
    return RawRecord(START + hour * HOUR, HOUR, counts, 985.0, 5.0, 80.0)


def text(*records: RawRecord) -> bytes:
    return RECORDS_HEADER + b"".join(map(format_record, records))


def test_records_are_sorted_and_each_end_time_occurs_once(tmp_path):
    newest_first = tmp_path / "a.csv"
    newest_first.write_bytes(text(record(3), record(2), record(1)))
    overlap = tmp_path / "b.csv"
    overlap.write_bytes(text(record(2), record(3, counts=999.0), record(4)))
    result = read_records([newest_first, overlap], "records")
    assert [r.end_s for r in result.records] == [START + h * HOUR for h in (1, 2, 3, 4)]
    assert [r.counts for r in result.records] == [1000.0] * 4  # the first of a conflict stays
    assert (result.duplicates, result.conflicts, result.damaged) == (1, 1, 0)


def test_a_repeated_record_with_missing_values_is_no_conflict(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(text(RawRecord(START, HOUR, math.nan), RawRecord(START, HOUR, math.nan)))
    result = read_records([path], "records")
    assert (len(result.records), result.duplicates, result.conflicts) == (1, 1, 0)


def test_the_first_damaged_lines_are_reported_by_file_and_line(tmp_path):
    path = tmp_path / "a.csv"
    plain = (
        RECORDS_HEADER.replace(b",crc32", b"") + b"2026-03-01T01:00:00Z,3600,1000,985,5,80,,,,,,\n"
    )
    noise = b"2026-03-01T09:00:00Z,3600,10x0,985,5,80,,,,,,\r\n" + b"\xff" * 2100 + b"\n"
    path.write_bytes(plain + noise * 15)
    result = read_records([path], "records")
    assert (result.lines, result.damaged, len(result.reasons)) == (32, 30, 20)
    assert result.reasons[0] == f"{path}:3: counts: '10x0' is not a number"
    assert result.reasons[1] == f"{path}:4: longer than 2048 bytes"


def test_packed_files_and_folders_give_what_the_plain_file_gives(tmp_path):
    halves = text(record(1), record(2)), text(record(3))
    folder = tmp_path / "logger"
    (folder / "more").mkdir(parents=True)
    (folder / "a.csv").write_bytes(halves[0])
    (folder / "more" / "b.dat").write_bytes(gzip.compress(halves[1]))  # recognised by its bytes
    (folder / ".hidden").write_bytes(text(record(9)))
    (folder / "empty.txt").touch()
    packed = tmp_path / "all.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("x")
        for number, half in enumerate(halves):
            archive.writestr(f"x/{number}.txt", half)
    from_folder, from_zip = (read_records([path], "records") for path in (folder, packed))
    assert [r.end_s for r in from_folder.records] == [START + h * HOUR for h in (1, 2, 3)]
    assert repr(from_zip.records) == repr(from_folder.records)  # NaN where nothing was measured
    assert from_folder.without_record == (str(folder / "empty.txt"),)
    assert [name for name, _ in file_chunks(packed)] == [f"{packed}:x/0.txt", f"{packed}:x/1.txt"]


def test_an_unreadable_file_is_reported_in_one_line_with_a_remedy(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.csv").touch()
    (tmp_path / "blank.csv").write_bytes(b"\r\n \r\n")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(text(record(1)) * 100)[:-20])
    (tmp_path / "not.gz").write_bytes(b"\x1f\x8b but no gzip")
    (tmp_path / "not.zip").write_bytes(b"PK\3\4 but no zip")
    expected = {
        "none.csv": "no such file",
        "folder": "contains no file",
        "empty.csv": "is empty",
        "blank.csv": "only blank lines",
        "cut.gz": "damaged archive",
        "not.gz": "damaged archive",
        "not.zip": "damaged archive",
    }
    for name, reason in expected.items():
        with pytest.raises(SourceError, match=reason) as caught:
            read_records([tmp_path / name], "records")
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match="no file given"):
        read_records([], "records")


def test_a_file_of_another_format_names_the_dialect_that_fits(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(text(record(1)))
    with pytest.raises(SourceError) as caught:
        read_records([path], "portal")
    assert "no portal record in 2 lines" in str(caught.value)
    assert "b'time_utc,duration_s," in str(caught.value)
    assert "dialect 'records' can read it" in str(caught.value)
    path.write_bytes(b"\x7fELF" + bytes(range(256)) * 10)
    with pytest.raises(SourceError, match="try another dialect"):
        read_records([path], "portal")


TOA5_HEADER = (
    b'"TOA5","meadow","CR300","77","CR300.Std.10","CPU:meadow.CR300","5","Hour"\r\n'
    b'"TIMESTAMP","RECORD","counts_1_Tot","barometric_pressure_Avg"\r\n'
    b'"TS","RN","","mbar"\r\n"","","Tot","Avg"\r\n'
)
TOA5_ROW = b'"2026-03-01 00:00:00",1,1200,1001.2\r\n'


@pytest.mark.parametrize("kind", [b"TOB1", b"TOB3"])
def test_a_binary_campbell_table_is_named_with_the_remedy(tmp_path, kind):
    path = tmp_path / "a.dat"
    path.write_bytes(b'"' + kind + b'","meadow","CR1000"\r\n' + bytes(range(256)) * 40)
    for dialect in ("toa5", "hydroinnova"):
        with pytest.raises(SourceError) as caught:
            read_records([path], dialect)
        reason = f"{kind.decode()} is binary; convert it to TOA5 with CardConvert"
        assert str(caught.value) == f"{path}: {reason}"
    (tmp_path / "b.dat").write_bytes(TOA5_HEADER + TOA5_ROW)
    result = read_records([tmp_path], "toa5")
    assert (len(result.records), result.damaged, result.without_record) == (1, 1, (str(path),))
    assert result.reasons == (f"{path}:1: {reason}",)


def test_a_file_with_only_a_header_has_no_record_yet(tmp_path):
    path = tmp_path / "a.dat"
    path.write_bytes(TOA5_HEADER)
    with pytest.raises(SourceError, match=r"a\.dat: a header, no record yet"):
        read_records([path], "toa5")
    path.write_bytes(RECORDS_HEADER)
    with pytest.raises(SourceError, match=r"a\.dat: a header, no record yet"):
        read_records([path], "records")
    path.write_bytes(TOA5_HEADER + TOA5_ROW.replace(b"1200", b"12x0"))
    with pytest.raises(SourceError, match=r"counts_1_Tot: '12x0' is not a number"):
        read_records([path], "toa5")


def test_a_file_whose_header_is_understood_is_not_called_another_dialect(tmp_path):
    path = tmp_path / "a.dat"
    path.write_bytes(TOA5_HEADER.replace(b"mbar", b"volts") + TOA5_ROW)
    with pytest.raises(SourceError) as caught:
        read_records([path], "toa5")
    reason = f"{path}:5: barometric_pressure_Avg: unit 'volts' is unknown; known: hPa, mbar, Pa"
    assert reason in str(caught.value)
    assert "dialect" not in str(caught.value)


def test_records_without_counts_because_of_a_flag_are_reported_for_each_file(tmp_path, caplog):
    path = tmp_path / "a.csv"
    rows = [f"2026-03-01T0{k}:00:00Z,{800 + k},962.5,{k % 3}\n" for k in range(6)]
    path.write_text("UTC_TIMESTAMP,COUNT,PRESSURE2_mb,FLAG\n" + "".join(rows))
    result = read_records([path], "cosmoz")
    assert [r.counts for r in result.records if not math.isnan(r.counts)] == [800, 803]
    assert [r.pressure_hpa for r in result.records] == [962.5] * 6
    assert caplog.messages == [f"{path}: FLAG is not 0 in 4 records: no counts"]
    assert result.flagged == 4


def test_the_public_file_of_a_styx_gives_all_its_records_by_utc(shared):
    path = shared / "cases" / "16-styx" / "ENV1420.TXT"
    if not path.is_file():
        pytest.skip(f"no StyX file: {path}")
    result = read_records([path], "styx", Options(interval_s=900.0))
    assert (len(result.records), result.damaged, result.lines) == (8, 0, 8)
    first = result.records[0]
    assert first.end_s == 1658981362.0  # the Unix time of the same line
    assert (first.counts, first.duration_s) == (263, 900)  # 0.2925 s-1
    ends = [record.end_s for record in result.records]
    assert all(925 < b - a < 940 for a, b in pairwise(ends))


def field_file(shared: Path, name: str) -> Path:
    return shared / "field" / name


@pytest.mark.parametrize(
    ("name", "dialect", "options", "records", "with_counts", "duplicates", "conflicts"),
    [
        (
            "hydroinnova-a101/CRNS-station_data-Hydroinnova-A.zip",
            *("hydroinnova", None, 26043, 26043, 0, 0),
        ),
        # 22,088 lines, newest first; two of them carry the same stamp after a restart
        ("roaring-fork-r5/raw_portal_report.csv.gz", "portal", None, 22087, 22060, 0, 1),
        # twice the logger was off within an interval: no counting time
        ("flickner-ks/station_data_toa5.csv.gz", "toa5", None, 16487, 16485, 0, 0),
        ("finapp141/finapp141.csv.gz", "finapp", None, 4717, 4498, 688, 0),
        ("fuerstensee-fsc001/FSC001_time_series.csv.gz", "cosmos_europe", None, 56245, 49131, 0, 0),
        ("rdt-ks/rdt.csv", "rdt", None, 1654, 1654, 0, 0),
        ("rover-gypsum-ks/gypsum_transect_01_may_2018.KSU", "hydroinnova", None, 201, 201, 0, 0),
        ("cosmicsense-sample1/crns_sample1.txt.gz", "hydroinnova", None, 24088, 24088, 0, 0),
    ],
)
def test_files_of_real_stations_give_every_record_and_no_damage(
    shared, name, dialect, options, records, with_counts, duplicates, conflicts
):
    result = read_records([field_file(shared, name)], dialect, options)
    usable = [r for r in result.records if r.counts == r.counts and r.duration_s == r.duration_s]
    assert result.reasons == ()
    assert (len(result.records), len(usable)) == (records, with_counts)
    assert (result.duplicates, result.conflicts) == (duplicates, conflicts)
    ends = [r.end_s for r in result.records]
    assert ends == sorted(set(ends))


def test_the_first_and_the_last_line_of_a_real_station_are_its_first_and_last_record(shared):
    name = "hydroinnova-a101/CRNS-station_data-Hydroinnova-A.zip"
    records = read_records([field_file(shared, name)], "hydroinnova").records
    first = datetime(2016, 12, 31, 22, 33, tzinfo=UTC).timestamp()
    housekeeping = {"battery_v": 13.097, "housing_humidity_pct": 68.4}
    channels = {
        "tube_1_temperature_c": 2.3,
        "tube_2_counts": 154.0,
        "tube_2_duration_s": 900.0,
        "tube_2_temperature_c": 2.3,
        "tube_2_humidity_pct": 68.2,
        "housing_temperature_c": 0.3,
        "logger_humidity_pct": 83.2,
    }
    assert repr(records[0]) == repr(
        RawRecord(first, 900.0, 97.0, 1009.02, -1.2, 85.5, **housekeeping, channels=channels)
    )


def test_columns_that_look_like_air_but_are_not_read_are_named(tmp_path):
    header = "DateTime_utc,NeutronCount_Epithermal_Cum1h,AirPressure,air_t_c,rh_pct,soil_temp,sT_5"
    path = tmp_path / "counts.csv"
    path.write_text(f"{header}\n2024-05-01 01:00:00,700,1001.0,12.5,80.0,9.0,8.0\n")
    unread = read_records([path], "cosmos_europe").unread
    assert [text.split("'")[1] for text in unread] == ["air_t_c", "rh_pct"]
    assert "if it is relative_humidity_pct, set columns and call it so" in unread[1]
    known = header.replace("air_t_c", "airT").replace("rh_pct", "airRH")
    path.write_text(f"{known}\n2024-05-01 01:00:00,700,1001.0,12.5,80.0,9.0,8.0\n")
    assert read_records([path], "cosmos_europe").unread == ()
