"""station.toml: all faults are reported at once, each with its key and remedy."""

import dataclasses
import math
import re
import tomllib

import numpy as np
import pytest
from tests.support.rig import ROOT, station_toml
from tests.support.sites import SITE, SOIL

from epithermal_edge.config import response_scale
from epithermal_edge.config.schema import TABLES
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.snow import SnowRule
from epithermal_edge.physics import atmosphere, corrections
from epithermal_edge.physics.cutoff import cutoff_rigidity
from epithermal_edge.physics.desilets import desilets_rate
from epithermal_edge.physics.neutron_monitors import find_monitor, incoming_scale
from epithermal_edge.physics.response import response_theta
from epithermal_edge.physics.response_forms import RESPONSES
from epithermal_edge.site import Muons

EXAMPLE = ROOT / "deploy" / "station.example.toml"


def faults(folder, **parts):
    with pytest.raises(ConfigError) as caught:
        read_config(station_toml(folder, **parts))
    return [text.partition(": ")[2] for text in caught.value.faults]


def test_a_minimal_file_gives_a_station_with_derived_corrections(tmp_path):
    config = read_config(station_toml(tmp_path))
    assert config.id == "test-1" and config.mqtt is None and config.source.url is None
    assert config.state_dir == tmp_path / "state"
    assert config.site.pressure_ref_hpa == float(atmosphere.mean_pressure(70.0))
    assert config.site.beta_per_hpa == float(corrections.pressure_coefficient(51.0, 70.0, 3.0))
    assert math.isnan(config.site.alpha) and config.site.incoming_scale == 1.0


def test_snow_is_looked_for_unless_turned_off(tmp_path):
    for more, rule in (
        ("", SnowRule(1.0)),
        ("[site.snow]\nair_temperature_c = -0.4\n", SnowRule(-0.4)),
        ("[site.snow]\ndetect = false\n", None),
    ):
        assert read_config(station_toml(tmp_path, site=SITE + more)).snow == rule
    (fault,) = faults(tmp_path, site=SITE + "[site.snow]\nair_temperature_c = 12\n")
    assert fault.startswith("site.snow.air_temperature_c: 12 is not within -5 to 5")


def test_what_is_given_is_not_derived(tmp_path):
    site = SITE.replace("cutoff_rigidity_gv = 3.0", "beta_per_hpa = 0.0072")
    site += '[site.incoming]\nform = "mcjannet2023"\nref = 150\nscale = 0.9\n'
    config = read_config(station_toml(tmp_path, site=site))
    assert config.site.beta_per_hpa == 0.0072 and config.site.incoming_scale == 0.9


@pytest.mark.parametrize(
    ("form", "scale"),
    [
        ("plain", 1.0),
        ("hawdon2014", float(corrections.hawdon_scale(3.0))),
        (
            "mcjannet2023",
            float(corrections.mcjannet_scale(3.0, atmosphere.atmospheric_depth(51.0, 70.0))),
        ),
    ],
)
def test_the_response_to_intensity_follows_from_the_form(tmp_path, form, scale):
    site = f'{SITE}[site.incoming]\nform = "{form}"\nref = 150\n'
    assert read_config(station_toml(tmp_path, site=site)).site.incoming_scale == scale


SCALED = f'{SITE}[site.incoming]\nform = "mcjannet2023"\nref = 100\n'


@pytest.mark.parametrize("source", ["nmdb", "file", "mqtt", ""])
def test_the_scale_is_that_of_the_monitor_whose_counts_are_used(tmp_path, source):
    text = SCALED + ("" if source else 'monitor = "OULU"\n')
    if source:
        text += f'[incoming]\nsource = "{source}"\nmonitor = "OULU"\nfile = "x"\ntopic = "a/b"\n'
        text += '[weather]\nhost = "localhost"\n'
    config = read_config(station_toml(tmp_path, site=text))
    oulu, jung = (find_monitor(name) for name in ("OULU", "JUNG"))
    place = "mcjannet2023", 51.0, 70.0, 3.0
    assert config.site.incoming_scale == float(incoming_scale(*place, oulu))
    assert config.site.incoming_scale < 0.9 * float(incoming_scale(*place, jung))
    assert config.incoming is None or config.incoming.monitor == "OULU"


def test_a_monitor_named_for_the_scale_is_also_the_one_that_nmdb_is_asked_for(tmp_path):
    text = SCALED + 'monitor = "ATHN"\n[incoming]\nsource = "nmdb"\n'
    config = read_config(station_toml(tmp_path, site=text))
    assert config.incoming is not None and config.incoming.monitor == "ATHN"
    assert faults(tmp_path, site=text + 'monitor = "OULU"\n') == [
        "site.incoming.monitor: is ATHN, but incoming.monitor is OULU"
    ]


def test_an_unknown_monitor_is_refused_unless_it_is_described(tmp_path):
    text = SCALED + 'monitor = "OULO"\n'
    assert faults(tmp_path, site=text) == [
        "site.incoming.monitor: OULO is not among the known monitors; did you mean OULU? or give "
        "monitor_cutoff_gv and monitor_altitude_m"
    ]
    assert len(faults(tmp_path, site=text + "monitor_cutoff_gv = 0.81\n")) == 1
    described = text + "monitor_cutoff_gv = 0.81\nmonitor_altitude_m = 15\n"
    scale = read_config(station_toml(tmp_path, site=described)).site.incoming_scale
    oulu = incoming_scale("mcjannet2023", 51.0, 70.0, 3.0, find_monitor("OULU"))
    assert scale == pytest.approx(float(oulu), rel=3e-3)  # its gravity is not known
    plain = read_config(station_toml(tmp_path, site=text.replace("mcjannet2023", "plain")))
    given = read_config(station_toml(tmp_path, site=text + "scale = 0.8\n"))
    assert (plain.site.incoming_scale, given.site.incoming_scale) == (1.0, 0.8)


def test_a_scale_that_is_not_positive_is_refused(tmp_path):
    text = SCALED.replace("mcjannet2023", "hawdon2014").replace("= 3.0", "= 16.0")
    (fault,) = faults(tmp_path, site=text + 'monitor = "OULU"\n')
    assert fault.startswith("site.incoming.monitor: form hawdon2014 has no scale for 16 GV")


def test_a_cutoff_that_is_not_given_follows_from_the_place_and_beta_from_its_form(tmp_path):
    without = SITE.replace("cutoff_rigidity_gv = 3.0", "longitude_deg = 5.5")
    config = read_config(station_toml(tmp_path, site=without))
    assert config.place.cutoff_rigidity_gv == float(cutoff_rigidity(51.0, 5.5))
    both = read_config(station_toml(tmp_path, site=SITE + "longitude_deg = 5.5\n"))
    assert both.place.cutoff_rigidity_gv == 3.0
    text = SITE + 'beta_form = "desilets2021"\n'
    beta = corrections.pressure_coefficient(51.0, 70.0, 3.0, "desilets2021")
    assert read_config(station_toml(tmp_path, site=text)).site.beta_per_hpa == float(beta)
    text = SITE.replace("= 3.0", "= 0.0") + 'beta_form = "tirado_bueno2021"\n'
    assert faults(tmp_path, site=text) == ["site.beta_form: tirado_bueno2021 has no value at 0 GV"]


@pytest.mark.parametrize("name", RESPONSES)
def test_every_response_of_the_physics_is_a_value_of_the_key(tmp_path, name):
    site = f'{SITE}response = "{name}"\n'
    assert read_config(station_toml(tmp_path, site=site)).site.response == name


def test_the_response_is_cosmic_unless_named_and_an_unknown_one_is_refused(tmp_path):
    assert read_config(station_toml(tmp_path)).site.response == "cosmic"
    assert set(response_scale.RESPONSES) == set(RESPONSES)
    [fault] = faults(tmp_path, site=f'{SITE}response = "hydrogen"\n')
    assert fault.startswith("site.response: 'hydrogen' is none of cosmic, desilets, uts2021")


def test_n0_of_a_paper_becomes_the_scale_of_the_response_with_its_error(tmp_path):
    n0 = SITE.replace("cosmic_n_cph = 430.0", "cosmic_n_cph = 2690.0\ncosmic_n_sigma = 0.02")
    text = n0 + 'scale_of = "desilets"\nscale_theta = 0.25\nscale_theta_sigma = 0.05\n'
    site = read_config(station_toml(tmp_path, site=text + "lattice_water_g_g = 0.08\n")).site
    count = desilets_rate(np.array([0.25]), 2690.0, 1.4, 0.08)
    assert float(response_theta(count, site)[0]) == pytest.approx(0.25, abs=1e-6)
    assert site.response == "cosmic" and 0.022 < site.cosmic_n_sigma < 0.05
    plain = read_config(station_toml(tmp_path, site=n0)).site
    assert (plain.cosmic_n_cph, plain.cosmic_n_sigma) == (2690.0, 0.02)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('scale_of = "desilets"\n', "site.scale_theta: missing; the water content at which"),
        ("scale_theta = 0.2\n", "site.scale_of: missing; the response whose scale"),
        ('scale_of = "n0"\nscale_theta = 0.2\n', "site.scale_of: 'n0' is none of cosmic, desil"),
    ],
)
def test_half_a_known_scale_is_refused(tmp_path, text, fault):
    [found] = faults(tmp_path, site=SITE + text)
    assert found.startswith(fault)


def test_all_faults_are_reported_at_once_with_key_and_remedy(tmp_path):
    site = SITE.replace("altitude_m", "altitud_m").replace("= 51.0", '= "north"')
    source = 'dialect = "recrods"\nbaud = 9600.5\ninterval_s = true\n'
    found = faults(tmp_path, site=site + "humidity_ref_g_m3 = nan\n", source=source)
    assert found == [
        "site.altitud_m: unknown; did you mean altitude_m?",
        "site.latitude_deg: 'north' is not a number; degrees north",
        "site.altitude_m: missing; metres above sea level",
        "site.humidity_ref_g_m3: nan is not within 0 to 50; reference humidity, g/m3",
        "source.baud: 9600.5 is not an integer; bits per second",
        "source.interval_s: True is not a number; nominal time between records, s",
        "source.dialect: 'recrods' is unknown; did you mean 'records'?",
    ]


def test_missing_tables_and_unknown_tables_are_reported(tmp_path):
    path = tmp_path / "station.toml"
    path.write_text('[station]\nid = "NO"\n[sources]\n[site.incomin]\nform = "plain"\n')
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    text = str(caught.value)
    for part in (
        "[sources]: unknown; did you mean source?",
        "[source] is missing",
        "[model] is missing",
        "station.id: 'NO' does not match",
        "station.state_dir: missing",
        "site.incomin: unknown; did you mean incoming?",
    ):
        assert part in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("mqtt", "fault"),
    [
        ('ca_file = "no.pem"', "mqtt.ca_file: no file "),
        ('user = "a"\ncert_file = "station.toml"', "cert_file and key_file belong together"),
        (
            'cert_file = "station.toml"\nkey_file = "station.toml"',
            "mqtt.ca_file: missing; a client",
        ),
        ('password_file = "station.toml"', "mqtt.user: missing"),
        ('prefix = "a/#"', "mqtt.prefix: 'a/#' does not match"),
        ('command_key_file = "station.toml"', "mqtt.command_key_file: "),
        ("keepalive_s = 1", "mqtt.keepalive_s: 1 is not within 5 to 3600"),
    ],
)
def test_the_broker_s_keys_are_checked_together(tmp_path, mqtt, fault):
    assert any(fault in text for text in faults(tmp_path, port=1883, mqtt=mqtt))


def test_a_topic_may_contain_blanks_but_no_wildcard_and_no_nul(tmp_path):
    air = '[weather]\nhost = "127.0.0.1"\n[weather.temperature]\ntopic = "{}"\n'
    topic = "zigbee2mqtt/North garden, 2 m"
    path = station_toml(tmp_path, port=1883, mqtt='prefix = "field station/crns"\n')
    text = path.read_text()
    path.write_text(text + air.format(topic))
    config = read_config(path)
    assert [gauge.topic for gauge in config.weather] == [topic]
    assert config.mqtt is not None and config.mqtt.prefix == "field station/crns"
    for wrong in ("yard/#", "yard/+/air", "yard\\u0000"):
        path.write_text(text + air.format(wrong))
        with pytest.raises(ConfigError, match=r"weather\.temperature\.topic: .* does not match"):
            read_config(path)


def test_a_cutoff_is_asked_for_only_where_something_needs_it(tmp_path):
    site = SITE.replace("cutoff_rigidity_gv = 3.0\n", "")
    incoming = '[site.incoming]\nform = "hawdon2014"\n'
    assert faults(tmp_path, site=site + incoming) == [
        "site.incoming.ref: missing; form hawdon2014 needs the monitor's reference rate",
        "site.cutoff_rigidity_gv: missing; give it, site.longitude_deg, or site.beta_per_hpa and"
        " site.incoming.scale; geomagnetic cutoff rigidity, GV",
    ]


def test_a_described_soil_reaches_the_site_and_none_is_unknown(tmp_path):
    site = read_config(station_toml(tmp_path, site=SITE + "cosmic_n_sigma = 0.01\n" + SOIL)).site
    assert (site.soil_known, site.soil_theta_r, site.soil_theta_s) == (0.5, 0.065, 0.41)
    assert (site.soil_alpha_per_cm, site.soil_n, site.soil_ks_cm_d) == (0.075, 1.89, 106.1)
    assert site.cosmic_n_sigma == 0.01
    bare = read_config(station_toml(tmp_path)).site
    assert bare.soil_known == 0.0 and math.isnan(bare.soil_n) and bare.cosmic_n_sigma == 0.03


def test_the_faults_of_a_soil_are_reported_for_each_key(tmp_path):
    soil = SOIL.replace("0.065", "0.39").replace("0.41", "0.38").replace("1.89", "1.0")
    soil = soil.replace("ks_cm_d = 106.1", "").replace('"texture"', '"guessed"')
    assert faults(tmp_path, site=SITE + soil) == [
        "site.soil.known: 'guessed' is none of measured, texture; source of the parameters",
        "site.soil.n: 1.0 is not within 1.01 to 15; van Genuchten's n",
        "site.soil.ks_cm_d: missing; give all of [site.soil] or none",
        "site.soil.theta_r: 0.39 is not less than theta_s = 0.38",
    ]


def test_a_file_without_a_site_is_reported_and_not_a_fault_of_the_program(tmp_path):
    path = station_toml(tmp_path)
    path.write_text(path.read_text().replace(f"[site]\n{SITE}", ""))
    with pytest.raises(ConfigError, match=r"\[site\] is missing"):
        read_config(path)


def test_a_soil_that_can_hold_no_water_is_reported(tmp_path):
    soil = SOIL.replace("0.065", "0.4").replace("0.41", "0.4")
    assert faults(tmp_path, site=SITE + soil) == [
        "site.soil.theta_r: 0.4 is not less than theta_s = 0.4"
    ]


COVER = """
[site.cover]
canopy_cover = { "05-01" = 0.0, "07-01" = 0.9, "09-30" = 0.0 }
root_depth_cm = 80
evaporation_share = 0.7
"""


def test_a_described_cover_reaches_the_site_as_a_curve_over_the_year(tmp_path):
    site = read_config(station_toml(tmp_path, site=SITE + COVER)).site
    assert (site.cover_known, site.root_depth_cm, site.evaporation_share) == (1.0, 80.0, 0.7)
    assert len(site.canopy_cover) == 366
    may, june, july, january = (site.canopy_cover[day - 1] for day in (122, 152, 183, 10))
    assert (may, july, january) == (0.0, 0.9, 0.0) and june == pytest.approx(0.9 * 30 / 61)
    assert read_config(station_toml(tmp_path)).site.cover_known == 0.0


def test_the_faults_of_a_cover_are_reported_for_each_key(tmp_path):
    cover = COVER.replace("07-01", "7/1").replace("0.9", "90").replace("root_depth_cm = 80", "")
    assert faults(tmp_path, site=SITE + cover) == [
        "site.cover.root_depth_cm: missing; give all of [site.cover] or none",
        'site.cover.canopy_cover: "7/1" is not a day; write month and day, as "07-01"',
        'site.cover.canopy_cover: "7/1" = 90 is not within 0 to 1',
    ]


def test_biomass_by_date_and_its_form_reach_the_site(tmp_path):
    biomass = 'biomass_kg_m2 = { "05-01" = 0.0, "07-20" = 6.5 }\nbiomass_form = "morris2024"\n'
    site = read_config(station_toml(tmp_path, site=SITE + biomass)).site
    assert len(site.biomass_kg_m2) == 366 and site.biomass_slope_per_mm == 0.010
    may, half, july, january = (site.biomass_kg_m2[day - 1] for day in (122, 162, 202, 1))
    assert (may, july) == (0.0, 6.5) and half == pytest.approx(3.25)
    assert 0.0 < january < 6.5  # periodic
    usual = read_config(station_toml(tmp_path)).site
    assert (usual.biomass_kg_m2, usual.biomass_slope_per_mm) == (0.0, 0.0)
    slope = "biomass_kg_m2 = 4\nbiomass_slope_per_mm = 0.006\n"
    own = read_config(station_toml(tmp_path, site=SITE + slope)).site
    assert (own.biomass_kg_m2, own.biomass_slope_per_mm) == (4.0, 0.006)


def test_the_faults_of_biomass_are_reported(tmp_path):
    biomass = 'biomass_kg_m2 = { "5" = 0.0, "07-20" = 650 }\nbiomass_form = "morris2024"\n'
    (text,) = faults(tmp_path, site=SITE + biomass)
    assert text.startswith(
        'site.biomass_kg_m2: "5" is not a day; write month and day, as "07-01";'
        ' "07-20" = 650 is not within 0 to 100'
    )
    both = 'biomass_kg_m2 = 2\nbiomass_form = "morris2024"\nbiomass_slope_per_mm = 0.01\n'
    assert faults(tmp_path, site=SITE + both) == [
        "site.biomass_slope_per_mm: biomass_form has the slope; give one of the two",
    ]
    (unknown,) = faults(tmp_path, site=SITE + 'biomass_form = "baatz"\n')
    assert unknown.startswith("site.biomass_form: 'baatz' is none of baatz2015, baatz2015_bwe")
    (text,) = faults(tmp_path, site=SITE + 'biomass_kg_m2 = "4"\n')
    assert text.startswith("site.biomass_kg_m2: '4' is not a number")


@pytest.mark.parametrize("content", [b"[station\n", b"\xff\xfe", None])
def test_a_file_that_is_no_toml_is_one_line(tmp_path, content):
    path = tmp_path / "x.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def example_lines():
    """Return the example's lines by table and key, including keys that are commented out."""
    found, table = {}, ""
    for text in EXAMPLE.read_text().splitlines():
        line = text.removeprefix("# ")
        if named := re.match(r"\[([a-z0-9.]+)\]", line):
            table = named[1]
        elif named := re.match(r"([a-z0-9_]+) = ", line):
            found.setdefault((table, named[1]), []).append(line)
    return found


def test_the_example_has_every_key_once_under_its_table_and_explains_it():
    found = example_lines()
    assert set(found) == {(table, key.name) for table, keys in TABLES.items() for key in keys}
    for (table, name), lines in found.items():
        assert len(lines) == 1, f"{table}.{name}"
        assert "  # " in lines[0], f"{table}.{name} is not explained"


def shown(default):
    """Return the value in brackets, as (9600) or ("5"); None if it is a description."""
    try:
        return tomllib.loads(f"x = {default}")["x"]
    except tomllib.TOMLDecodeError:
        return None


def test_the_example_states_which_keys_are_optional_and_their_defaults():
    found = example_lines()
    for table, keys in TABLES.items():
        for key in keys:
            (line,) = found[table, key.name]
            optional = re.search(r"# optional(?: \(([^)]*)\))?", line)
            if key.required:
                assert optional is None, f"{table}.{key.name} is required"
            if optional and optional[1] is not None:
                assert shown(optional[1]) == key.default, f"{table}.{key.name}: {key.default!r}"


COMMAND_KEY = (  # of RFC 8032, section 7.1, test 1
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
    "-----END PUBLIC KEY-----\n"
)


def test_the_example_loads_as_it_is_and_with_all_that_is_commented_out(tmp_path):
    config = read_config(EXAMPLE)
    assert config.mqtt is not None and config.source.dialect == "hydroinnova"
    text = re.sub(r"(?m)^# (?=[a-z0-9_]+ = |\[)", "", EXAMPLE.read_text())
    text = text.replace('form = "none"', 'form = "plain"')
    text = text.replace("biomass_slope_per_mm = ", "# biomass_slope_per_mm = ")  # or biomass_form
    path = tmp_path / "station.toml"
    path.write_text(text)
    (tmp_path / "credentials").mkdir()
    for name in re.findall(r'_file = "(credentials/[^"]+)"', text):
        (tmp_path / name).write_text(COMMAND_KEY)
    config = read_config(path)
    assert [gauge.name for gauge in config.weather] == [
        *("pressure_hpa", "temperature_c", "relative_humidity_pct", "rain_mm", "et0_mm")
    ]
    assert config.incoming is not None and config.incoming.monitor == "JUNG"
    assert config.weather_mqtt is not None and config.weather_mqtt.host == "127.0.0.1"
    assert config.source.query == "SINCE %Y/%m/%d %H:%M:%S\r\n"
    assert config.site.cover_known == 1.0 and config.site.soil_known == 0.5
    assert config.site.biomass_slope_per_mm == 0.010


def test_a_systemd_credential_has_priority_over_the_file_of_the_same_name(tmp_path, monkeypatch):
    (tmp_path / "password").write_text("for root")
    toml = station_toml(tmp_path, port=1, mqtt='user = "test-1"\npassword_file = "password"\n')
    credentials = tmp_path / "systemd"
    credentials.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert read_config(toml).mqtt.password_file == tmp_path / "password"
    (credentials / "station_password").write_text("for the service")
    assert read_config(toml).mqtt.password_file == credentials / "station_password"


def test_a_configuration_cannot_be_changed(tmp_path):
    config = read_config(station_toml(tmp_path))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.id = "other"


MUONS = '[site.incoming]\nsource = "muons"\n'


def test_muons_replace_the_monitor_with_defaults_of_their_own(tmp_path):
    text = f'{SITE}{MUONS}form = "plain"\nref = 7000\n'
    site = read_config(station_toml(tmp_path, site=text)).site
    assert site.muons == Muons() and (site.incoming_ref, site.incoming_scale) == (7000.0, 1.0)
    own = text + "muon_beta_per_hpa = 0.0023\nmuon_smoothing_h = 48\n"
    site = read_config(station_toml(tmp_path, site=own)).site
    assert site.muons == Muons(beta_per_hpa=0.0023, smoothing_h=48.0)
    assert read_config(station_toml(tmp_path)).site.muons is None


def test_muons_and_a_monitor_exclude_each_other(tmp_path):
    text = f'{SITE}{MUONS}ref = 7000\nform = "hawdon2014"\nmonitor = "OULU"\n'
    found = faults(tmp_path, site=text + '[incoming]\nsource = "nmdb"\n')
    assert found == [
        "site.incoming.form: hawdon2014 scales a neutron monitor; set plain, or give the scale of "
        "the neutrons relative to the muons",
        "site.incoming.monitor: source is muons; delete it",
        "site.incoming.source: is muons, but [incoming] names a monitor; delete one of them",
    ]
    assert faults(tmp_path, site=f"{SITE}{MUONS}") == [
        "site.incoming.form: is none, but source is muons; set plain"
    ]
    unused = f"{SITE}[site.incoming]\nmuon_smoothing_h = 48\n"
    assert faults(tmp_path, site=unused) == [
        "site.incoming.muon_smoothing_h: source is not muons; delete it, or set source"
    ]
