"""A site is described by a file; all errors in it are reported together."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.rig import station_toml
from tests.support.sites import SITE

from epithermal_edge.config.station_toml import read_config
from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.snow import SnowRule
from epithermal_edge.physics.corrections import pressure_coefficient
from epithermal_edge.physics.cutoff import cutoff_rigidity
from epithermal_edge.physics.neutron_monitors import find_monitor, incoming_scale
from epithermal_host.field.site_toml import read_site

ROOT = Path(__file__).resolve().parents[3]
NO_PROBES = ("flickner-ks", "fuerstensee-fsc001", "sheepdrove2")  # for calibration only
LEAST = """
[site]
name = "a-field"
latitude_deg = 50.0
longitude_deg = 5.0
altitude_m = 100
cutoff_rigidity_gv = 3.0
[soil]
bulk_density_g_cm3 = 1.4
[records]
files = ["$WHERE/counts.csv"]
dialect = "records"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_site_requires_position_soil_and_records_only(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", str(tmp_path / "data"))
    site = read_site(written(tmp_path, LEAST))
    assert site.records.paths == (tmp_path / "data" / "counts.csv",)
    assert site.sampling is None and site.probes == () and site.site.incoming_form == "none"
    assert site.site.beta_per_hpa == pytest.approx(0.0075, abs=0.0005)  # middle latitudes
    assert site.site.pressure_ref_hpa == pytest.approx(1001.0, abs=2.0)  # 100 m


def test_paths_are_relative_to_the_site_file(tmp_path):
    site = read_site(written(tmp_path, LEAST.replace("$WHERE/", "")))
    assert site.records.paths == (tmp_path / "counts.csv",)


def test_vegetation_is_described_as_in_station_toml(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", "data")
    cover = '[cover]\ncanopy_cover = { "06-01" = 0.4 }\nroot_depth_cm = 60\n'
    site = read_site(written(tmp_path, LEAST + cover + "evaporation_share = 0.5\n")).site
    values = (site.cover_known, site.canopy_cover[0], site.root_depth_cm, site.evaporation_share)
    assert values == (1.0, 0.4, 60.0, 0.5)
    with pytest.raises(ConfigError, match=r"cover\.evaporation_share: missing"):
        read_site(written(tmp_path, LEAST + cover))


BIOMASS = 'biomass_kg_m2 = { "05-01" = 0.0, "07-20" = 6.5 }\nbiomass_form = "morris2024"\n'
OVER_TIME = '[biomass]\nfile = "$WHERE/b.csv"\ntime = "day"\ncolumn = "bwe_mm"\n'


def test_biomass_is_described_with_the_words_of_station_toml(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", "data")
    site = read_site(written(tmp_path, LEAST.replace("[soil]", f"{BIOMASS}[soil]"))).site
    station = read_config(station_toml(tmp_path, site=SITE + BIOMASS)).site
    assert len(site.biomass_kg_m2) == 366
    assert site.biomass_kg_m2 == station.biomass_kg_m2
    assert site.biomass_slope_per_mm == station.biomass_slope_per_mm == 0.010


@pytest.mark.parametrize("given", ["biomass_kg_m2 = 3\n", 'biomass_kg_m2 = { "07-01" = 2 }\n', ""])
def test_biomass_without_a_slope_is_refused_with_the_remedy(tmp_path, monkeypatch, given):
    monkeypatch.setenv("WHERE", "data")
    text = LEAST.replace("[soil]", f"{given}[soil]") + ("" if given else OVER_TIME)
    with pytest.raises(ConfigError, match=r"biomass_form: missing.*set biomass_form to one of"):
        read_site(written(tmp_path, text))
    sloped = text.replace("[soil]", "biomass_slope_per_mm = 0.006\n[soil]")
    assert read_site(written(tmp_path, sloped)).site.biomass_slope_per_mm == 0.006


def test_snow_is_described_as_in_station_toml_and_looked_for_unless_turned_off(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("WHERE", "data")
    assert read_site(written(tmp_path, LEAST)).snow == SnowRule(1.0)
    warmer = "[snow]\nair_temperature_c = 2\n"
    assert read_site(written(tmp_path, LEAST + warmer)).snow == SnowRule(2.0)
    assert read_site(written(tmp_path, LEAST + "[snow]\ndetect = false\n")).snow is None


INCOMING = """[incoming]
file = "counts.txt"
column = "{}"
form = "mcjannet2023"
ref = 100
"""


def scale_of(folder, column, more=""):
    """Return the scale of f_i and the name of its monitor."""
    text = LEAST.replace("$WHERE/", "") + INCOMING.format(column) + more
    site = read_site(written(folder, text))
    return site.site.incoming_scale, site.incoming.name


@pytest.mark.parametrize(
    ("column", "more", "name"),
    [
        ("OULU", "", "OULU"),
        ("incoming_mxco_cps", "", "MXCO"),
        ("counts", 'monitor = "ATHN"\n', "ATHN"),
        ("JUNG1", 'monitor = "JUNG"\n', "JUNG"),
        ("counts", "", "JUNG"),
        ("RCORR_E", "", "JUNG"),
    ],
)
def test_the_scale_is_that_of_the_monitor_and_as_at_the_station(tmp_path, column, more, name):
    place = "mcjannet2023", 50.0, 100.0, 3.0
    scale = float(incoming_scale(*place, find_monitor(name)))
    assert scale_of(tmp_path, column, more) == (scale, name)
    site = SITE.replace("51.0", "50.0").replace("70.0", "100.0")
    site += f'[site.incoming]\nform = "mcjannet2023"\nref = 100\nmonitor = "{name}"\n'
    assert read_config(station_toml(tmp_path, site=site)).site.incoming_scale == scale


def test_an_unknown_monitor_is_refused_unless_it_is_described(tmp_path):
    with pytest.raises(ConfigError, match=r"incoming\.monitor: BUDA is not among .*monitor_alt"):
        scale_of(tmp_path, "BUDA")
    own = "monitor_cutoff_gv = 4.5\nmonitor_altitude_m = 150\n"
    scale, name = scale_of(tmp_path, "BUDA", own)
    assert name == "BUDA" and 1.0 < scale < 1.5


def test_a_cutoff_that_is_not_given_follows_from_the_place(tmp_path):
    text = LEAST.replace("$WHERE/", "").replace("cutoff_rigidity_gv = 3.0\n", "")
    beta = read_site(written(tmp_path, text)).site.beta_per_hpa
    cutoff = float(cutoff_rigidity(50.0, 5.0))
    assert cutoff == pytest.approx(3.3, abs=0.3)
    assert beta == float(pressure_coefficient(50.0, 100.0, cutoff))


def test_all_errors_are_reported_together(tmp_path, monkeypatch):
    monkeypatch.delenv("WHERE", raising=False)
    text = LEAST.replace("1.4", "14").replace('"records"', '"recrds"') + "[rainn]\n"
    text += '[[probe]]\nfile = "x"\ntime = "t"\ncolumns = ["a"]\ndepth_cm = 5\nwight = 1\n'
    with pytest.raises(ConfigError) as caught:
        read_site(written(tmp_path, text))
    faults = str(caught.value)
    for part in ("bulk_density_g_cm3", "dialect", "[rainn]", "probe 1: wight", "probe 1: weight"):
        assert part in faults, part


def test_an_unset_variable_of_a_path_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("WHERE", raising=False)
    with pytest.raises(ConfigError, match="no WHERE; set it"):
        read_site(written(tmp_path, LEAST))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests/field").glob("*.toml")), ids=lambda p: p.stem
)
def test_each_site_file_in_the_repository_names_files_that_exist(path, shared, monkeypatch):
    monkeypatch.setenv("EPITHERMAL_SHARED", str(shared))
    site = read_site(path)
    assert site.name == path.stem
    assert site.sampling is not None and bool(site.probes) == (site.name not in NO_PROBES)
    tables = [t for t in (site.incoming, site.rain, site.soil_temperature, site.sampling) if t]
    named = [*site.records.paths, *(t.file.path for t in (*tables, *site.probes))]
    assert all(file.is_file() for file in named)


MUONS = '[incoming]\nsource = "muons"\nform = "plain"\nref = 7000\nmuon_smoothing_h = 48\n'


def test_muons_are_described_with_the_words_of_station_toml(tmp_path):
    site = read_site(written(tmp_path, LEAST.replace("$WHERE/", "") + MUONS))
    assert site.incoming is None and site.site.incoming_form == "plain"
    text = SITE + MUONS.replace("[incoming]", "[site.incoming]")
    assert read_config(station_toml(tmp_path, site=text)).site.muons == site.site.muons


def test_muons_need_no_file_and_a_monitor_does(tmp_path):
    least = LEAST.replace("$WHERE/", "")
    with pytest.raises(ConfigError, match=r"incoming\.file: source is muons; delete it"):
        read_site(written(tmp_path, least + MUONS + 'file = "a.csv"\n'))
    with pytest.raises(ConfigError, match=r"incoming\.column: missing") as caught:
        read_site(written(tmp_path, least + '[incoming]\nform = "plain"\nref = 7000\n'))
    assert len(caught.value.faults) == 2
