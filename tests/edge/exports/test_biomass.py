"""Exports of a site whose biomass grows: forms, constants, the column of COSMOS-Europe."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from tests.support.rig import BUNDLE

from epithermal_edge.config.year_curve import interpolate_year
from epithermal_edge.exports import cosmos_europe, methods, netcdf
from epithermal_edge.inference import engine, runtime
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.records import RawRecord
from epithermal_edge.site import Site

JULY_1_S = 19_905 * 86400.0  # 2024-07-01
YEAR = interpolate_year({"05-01": 0.0, "07-01": 4.0, "10-01": 0.0})
SITE = Site(430.0, 1.4, biomass_kg_m2=YEAR, biomass_slope_per_mm=0.010)


@pytest.mark.parametrize(
    ("keys", "dated", "form"),
    [
        ({}, False, ["site.biomass_form=morris2024"]),
        ({"biomass_slope_per_mm": 0.009}, False, ["site.biomass_form=baatz2015"]),
        ({"biomass_slope_per_mm": 0.0045}, False, ["site.biomass_form=baatz2015_bwe"]),
        ({"biomass_slope_per_mm": 0.006}, False, ["vegetation"]),
        ({"biomass_slope_per_mm": 0.0}, True, []),
        ({"biomass_kg_m2": 0.0}, False, []),
        ({"biomass_kg_m2": 0.0}, True, ["site.biomass_form=morris2024"]),
    ],
)
def test_the_form_is_cited_where_biomass_is_corrected(keys, dated, form):
    site = replace(SITE, **keys)
    assert methods.biomass_forms(site, dated=dated) == form
    found = methods.site_forms(site, 70.0, None, dated=dated)
    assert [x for x in found if "biomass" in x or x == "vegetation"] == form


def test_methods_state_the_range_of_biomass_over_the_year():
    lines = methods.describe(SITE)
    assert "- biomass_kg_m2: 0 to 4 kg m-2, by the day of the year" in lines
    assert "- biomass_slope_per_mm: 0.01 m2 kg-1" in lines
    assert "- biomass_kg_m2: 3 kg m-2" in methods.describe(replace(SITE, biomass_kg_m2=3.0))


def test_the_column_of_cosmos_europe_is_the_biomass_of_each_record():
    bundle = open_bundle(BUNDLE)
    station = engine.Engine(SITE, bundle, runtime.load(bundle))
    ends = [JULY_1_S + 3600.0, JULY_1_S + 7200.0, JULY_1_S + 86400.0 + 3600.0]
    records = [RawRecord(end, 3600.0, 1500.0, 1005.0) for end in ends]
    records[1] = replace(records[1], channels={"biomass_kg_m2": 6.25})
    out = io.StringIO()
    cosmos_europe.write(engine.play(station, records), SITE, out)
    table = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [row["Biomass"] for row in table] == ["4.00", "6.25", "3.96"]


def test_netcdf_has_the_biomass_of_each_day_of_the_year(tmp_path):
    netcdf4 = pytest.importorskip("netCDF4", reason="the extra `export` is not installed")
    with netcdf4.Dataset(tmp_path / "site.nc", "w") as data:
        netcdf._constant(data, "site_biomass_kg_m2", np.array(YEAR), {"units": "kg m-2"})
        netcdf._constant(data, "site_cosmic_n_cph", np.array(430.0), {"units": "h-1"})
    with netcdf4.Dataset(tmp_path / "site.nc") as data:
        assert data["site_biomass_kg_m2"].dimensions == ("day_of_year",)
        assert data["site_biomass_kg_m2"][:].tolist() == list(YEAR)
        assert data["site_cosmic_n_cph"].dimensions == ()
