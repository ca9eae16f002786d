"""NetCDF, Parquet, COSMOS-Europe and methods of a station that measured: equal to the journal."""

import csv
import itertools
import json
import math
import tracemalloc

import numpy as np
import pytest
from tests.support.rig import Daemon, Line, edge, lines, sealed_again, station_toml
from tests.support.sites import WATERED

from epithermal_edge.config.station_toml import read_config
from epithermal_edge.exports import cosmos_europe, netcdf, variables
from epithermal_edge.journal import history
from epithermal_edge.loggers.files import read_records
from epithermal_edge.messages.observation import qartod
from epithermal_edge.records import Quality
from epithermal_edge.station.status import JOURNAL_FILE

HEADER, *LINES = lines(12.0)
SITE = WATERED.replace("altitude_m", "longitude_deg = 6.5\naltitude_m", 1)
GIVEN = """
title = "Soil water of a field"
institution = "An institute"
license = "CC-BY-4.0"
creator_name = "A. Person"
"""


@pytest.fixture(scope="module")
def toml(tmp_path_factory):
    """Run a station over twelve days with a gap and a late record."""
    folder, line = tmp_path_factory.mktemp("ran"), Line()
    path = station_toml(folder, url=line.name, site=SITE)
    daemon = Daemon(path, "--until-idle", "1").ready()
    late = sealed_again(LINES[3].replace(b":00Z,", b":30Z,", 1))
    line.write(HEADER + b"".join([*LINES[:100], *LINES[110:200], late, *LINES[200:]]))
    assert daemon.wait() == 0
    line.close()
    return path


@pytest.fixture(scope="module")
def entries(toml):
    db = history.open_readonly(read_config(toml).state_dir / JOURNAL_FILE)
    return sorted(history.read_entries(db), key=lambda entry: entry.outcome.record.end_s)


@pytest.fixture(scope="module")
def written(toml):
    pytest.importorskip("netCDF4", reason="the extra `export` is not installed")
    given = toml.with_name("given.toml")
    given.write_text(GIVEN)
    path = toml.with_name("out.nc")
    done = edge("export", toml, "--netcdf", path, "--attributes", given)
    assert done.returncode == 0, done.stderr
    return path


def test_xarray_reads_the_netcdf_back_equal_to_the_journal(written, entries):
    xarray = pytest.importorskip("xarray")
    with xarray.open_dataset(written, decode_times=False) as data:
        outcomes = [entry.outcome for entry in entries]
        assert data["time"].values.tolist() == [o.record.end_s for o in outcomes]
        assert data["seq"].values.tolist() == [entry.seq for entry in entries]
        for v in variables.RECORD:
            expected = [float(getattr(o.record, v.name)) for o in outcomes]
            np.testing.assert_array_equal(data[v.name].values, expected)
        for v in variables.CORRECTED:
            expected = [float(getattr(o.corrected, v.name)[0]) for o in outcomes]
            np.testing.assert_array_equal(data[v.name].values, expected)
        for v in variables.ESTIMATE:
            expected = [getattr(o.estimate, v.name) for o in outcomes]
            np.testing.assert_array_equal(data[v.name].values, expected)
        quality = data["quality"]
        assert quality.values.tolist() == [int(o.estimate.quality) for o in outcomes]
        meanings = quality.attrs["flag_meanings"].split()
        late = dict(zip(meanings, quality.attrs["flag_masks"], strict=True))["late"]
        assert ((quality.values & late) != 0).sum() == 1 and late == int(Quality.LATE)
        names = data["model"].attrs["flag_meanings"].split()
        assert {names[i] for i in data["model"].values} == {"bucket_0.1.0"}
        assert np.isfinite(data["theta"].values).any() and np.isnan(data["theta"].values).any()
        assert data["theta"].attrs["units"] == "m3 m-3"
        assert data["depth_0_30_bnds"].values.tolist() == [0.0, 30.0]
    with xarray.open_dataset(written) as decoded:
        assert str(decoded["time"].values[0]) == "2026-01-01T01:00:00.000000000"


def test_the_file_names_its_owner_calibration_provenance_and_references(written):
    xarray = pytest.importorskip("xarray")
    with xarray.open_dataset(written) as data:
        assert data.attrs["Conventions"] == "CF-1.11, ACDD-1.3"
        assert data.attrs["license"] == "CC-BY-4.0"
        assert data.attrs["title"] == "Soil water of a field"
        assert "bucket 0.1.0" in data.attrs["source"]
        assert float(data["site_cosmic_n_cph"]) == 430.0
        assert "doi:10.5194/hess-17-3205-2013" in data.attrs["references"]
        assert "Hawdon" not in data.attrs["references"]  # the station has form none
        assert data.attrs["time_coverage_start"] == "2026-01-01T01:00:00Z"


def findings(path, checker, folder):
    """Return the messages of a checker by priority; test and message in one text each."""
    runner = pytest.importorskip("compliance_checker.runner")
    runner.CheckSuite.load_all_available_checkers()
    out = folder / f"{checker.replace(':', '-')}.json"
    names = {"output_filename": str(out), "output_format": "json"}
    _, broken = runner.ComplianceChecker.run_checker(str(path), [checker], 0, "normal", **names)
    assert not broken
    report = json.loads(out.read_text())[checker]
    return {
        level: [f"{r['name']}: {m}" for r in report[f"{level}_priorities"] for m in r["msgs"]]
        for level in ("high", "medium", "low")
    }


def test_the_compliance_checker_finds_no_error(written, tmp_path):
    """CF 7.1 lets a scalar coordinate have bounds of one dimension; the checker warns of them."""
    cf = findings(written, "cf:1.11", tmp_path)
    assert not cf["high"] and not cf["low"]
    assert all("depth_" in x and "at least two dimensions" in x for x in cf["medium"])
    # some quantities of this field have no standard name
    acdd = findings(written, "acdd:1.3", tmp_path)
    assert all(x.endswith("standard_name") for x in acdd["high"])


def test_parquet_has_the_same_values(toml, entries):
    parquet = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    path = toml.with_name("out.parquet")
    done = edge("export", toml, "--parquet", path)
    assert done.returncode == 0, done.stderr
    table = parquet.read_table(path)
    theta = [o if math.isfinite(o) else None for o in (e.outcome.estimate.theta for e in entries)]
    assert table["theta"].to_pylist() == theta
    times = [moment.timestamp() for moment in table["time"].to_pylist()]
    assert times == [entry.outcome.record.end_s for entry in entries]
    assert table.schema.field("theta").metadata[b"units"] == b"m3 m-3"


def test_the_columns_of_cosmos_europe_hold_the_inversion_and_read_back(toml, entries):
    path = toml.with_name("europe.csv")
    done = edge("export", toml, "--cosmos-europe", path)
    assert done.returncode == 0 and done.stderr.endswith(f"records={len(entries)}\n")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == cosmos_europe.COLUMNS
    assert rows[0]["DateTime_utc"] == "2026-01-01T01:00:00.000+0000"
    theta = [float(row["SoilMoisture_volumetric_MovAvg24h"] or "nan") for row in rows]
    expected = [entry.outcome.estimate.theta_classical for entry in entries]
    assert theta == pytest.approx(expected, abs=5.01e-5, nan_ok=True)
    # 24 records of an hour, no gap: the plain mean weighted by counting time
    last = entries[-24:]
    hours = np.array([float(e.outcome.record.duration_s) for e in last])
    rate = np.array([float(e.outcome.corrected.n_corr_cph[0]) for e in last])
    mean = float(rows[-1]["NeutronCount_Epithermal_MovAvg24h_corrected"])
    assert mean == pytest.approx((hours @ rate) / hours.sum(), abs=0.051)


def test_the_dialect_reads_times_of_the_export_as_utc(tmp_path):
    path = tmp_path / "europe.csv"
    path.write_text(
        "DateTime_utc,NeutronCount_Epithermal_Cum1h\n2026-01-01T01:00:00.000+0000,1500\n"
    )
    (record,) = read_records([path], "cosmos_europe").records
    assert record.end_s == 1_767_229_200.0


def test_methods_name_the_forms_of_this_station_and_no_others(toml):
    path = toml.with_name("methods.md")
    assert edge("export", toml, "--methods", path).returncode == 0
    text = path.read_text()
    assert "@article{Shuttleworth2013," in text and "FAO-56, table 22" in text
    assert "Hawdon2014" not in text and "Baatz2015" not in text
    other = toml.with_name("hawdon.toml")
    incoming = '[site.incoming]\nform = "hawdon2014"\nref = 100.0\n[source]'
    other.write_text(toml.read_text().replace("[source]", incoming, 1))
    assert edge("export", other, "--methods", path).returncode == 0
    assert "@article{Hawdon2014," in path.read_text()


def test_an_export_without_records_leaves_no_file(toml, tmp_path):
    pytest.importorskip("netCDF4")
    path = tmp_path / "none.nc"
    done = edge("export", toml, "--netcdf", path, "--from", "2030-01-01")
    assert done.returncode == 1 and "no records" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--netcdf", "x.nc", "--set-aside"), "--set-aside writes CSV"),
        (("--csv", "x.csv", "--attributes", "given.toml"), "--attributes needs --netcdf"),
    ],
)
def test_options_that_contradict_each_other_are_refused(toml, tmp_path, options, why):
    done = edge("export", toml, *options)
    assert done.returncode == 2 and why in done.stderr


def test_an_attribute_that_the_program_writes_cannot_be_given(toml, tmp_path):
    given = tmp_path / "given.toml"
    given.write_text('Conventions = "CF-1.0"\nlicense = 4\n')
    done = edge("export", toml, "--netcdf", tmp_path / "x.nc", "--attributes", given)
    assert done.returncode == 2
    assert "Conventions: unknown" in done.stderr and "license: not a text" in done.stderr


def test_memory_does_not_grow_with_the_length_of_the_journal(entries, toml, tmp_path):
    pytest.importorskip("netCDF4")
    config = read_config(toml)
    header = netcdf.Header(
        *("x", "x", "summary", "source", config.site, 0.0, None, ()),
        variables=variables.record_variables(["bucket 0.1.0"]),
    )
    some = [(entry.seq, entry.outcome, entry.model) for entry in entries]

    def peak(blocks):
        stream = itertools.islice(itertools.cycle(some), blocks * variables.BLOCK)
        values = variables.record_blocks(stream, ["bucket 0.1.0"], (), qartod)
        tracemalloc.start()
        count = netcdf.write(tmp_path / "x.nc", header, values)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == blocks * variables.BLOCK
        return most

    assert peak(6) < 1.2 * peak(2)
