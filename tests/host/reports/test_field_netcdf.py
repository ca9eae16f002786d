"""The estimates of an evaluation as NetCDF: read back equal, and accepted by the checker."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.host.reports import test_field
from tests.host.reports.test_field import BUNDLE, QUIET

from epithermal_host.cli.main import main
from epithermal_host.reports import field, field_netcdf

site_toml = test_field.site_toml
pytest.importorskip("netCDF4", reason="the extra `netcdf` is not installed")


@pytest.fixture(scope="module")
def evaluated(site_toml, tmp_path_factory):
    out = tmp_path_factory.mktemp("netcdf")
    report, _ = field.run(BUNDLE, [site_toml], out, QUIET)
    (place,) = report.places
    path = out / "made-up.nc"
    assert field_netcdf.write(path, place, report.bundle) == len(place.series.day_end_s)
    return place, path


def test_xarray_reads_the_estimates_back_equal(evaluated):
    xarray = pytest.importorskip("xarray")
    place, path = evaluated
    with xarray.open_dataset(path, decode_times=False) as data:
        np.testing.assert_array_equal(data["time"].values, place.series.day_end_s)
        np.testing.assert_array_equal(data["theta_probes"].values, place.series.truth)
        np.testing.assert_array_equal(data["evaluated"].values != 0, place.series.judged)
        names = [n for n in data.data_vars if n.startswith("theta_") and n != "theta_probes"]
        for e in place.estimates:
            name = f"theta_{field_netcdf.name_of(f'{e.method} {e.inputs}')}"
            np.testing.assert_array_equal(data[name].values, e.theta)
            if e.sigma is not None:
                np.testing.assert_array_equal(data[f"{name}_sigma"].values, e.sigma)
        assert len(names) == sum(1 + (e.sigma is not None) for e in place.estimates)
        assert float(data["site_cosmic_n_cph"]) == place.series.cosmic_n_cph
        assert "doi:10.1016/S0012-821X(02)01088-9" in data.attrs["references"]  # beta is derived
        assert "COSMIC's N" in data.attrs["comment"]
        assert "doi:10.5194/hess-12-1323-2008" in data.attrs["references"]  # of the filter


def test_the_compliance_checker_finds_no_error(evaluated, tmp_path):
    runner = pytest.importorskip("compliance_checker.runner")
    runner.CheckSuite.load_all_available_checkers()
    out = tmp_path / "cf.json"
    named = {"output_filename": str(out), "output_format": "json"}
    checked = ["cf:1.11"]
    _, broken = runner.ComplianceChecker.run_checker(
        str(evaluated[1]), checked, 0, "normal", **named
    )
    report = json.loads(out.read_text())["cf:1.11"]
    assert not broken and not any(r["msgs"] for r in report["high_priorities"])
    warned = [m for r in report["medium_priorities"] for m in r["msgs"]]
    assert all("depth_0_30_bnds" in m for m in warned)  # one dimension is right there: CF 7.1


def test_netcdf_without_field_is_refused(capsys):
    assert main(["evaluate", "runs/a", "--netcdf"]) == 2
    assert "--netcdf requires --field" in capsys.readouterr().err
