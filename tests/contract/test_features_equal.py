"""Training and station: the same records give the same features, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.inference import pipeline
from epithermal_edge.inference.block import block_of
from epithermal_edge.inference.features import Window
from epithermal_edge.records import RawRecord
from epithermal_edge.site import Muons, Site
from epithermal_host.config.run_toml import read_run
from epithermal_host.simulation import campaign
from epithermal_host.simulation.detector import COLUMNS
from epithermal_host.training import dataset

TEXT = """
[campaign]
seed = 21
soils = 5
years = 1
[population]
textures = ["loam", "silt_loam", "clay_loam"]
dry_rate_max_cph = 1000.0
biomass_max_mm = 12.0
crop_share = 0.75
[instrument]
dropout_share_max = 0.3
outages_per_year = 6.0
outage_max_d = 15.0
gauge_share = 0.6
et0_source_share = 0.4
latitude_share = 0.6
monitor_share = 0.6
biomass_known_share = 0.6
"""

DAYS = 150  # processed by the station


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "a.toml").write_text(TEXT, encoding="utf-8")
    campaign.run(read_run(folder / "a.toml"), folder, workers=1, progress=False)
    dataset.run(folder, workers=1, progress=False)
    return folder


def station_windows(run_folder: Path, index: int) -> list[Window]:
    """Process the records of one site one by one; return the windows that end at 0 h."""
    observation, _ = dataset.observe_scenario(read_run(run_folder), run_folder, index)
    state = pipeline.start(1, phases=24)
    windows: list[Window] = []
    for record in observation.records()[: 24 * DAYS]:
        assert all(isinstance(getattr(record, name), float) for name in COLUMNS)
        state, _, completed = pipeline.step(observation.site, state, record)
        windows += completed
    assert len(windows) == 24 * DAYS
    return [window for window in windows if window.hour % 24 == 0]


@pytest.mark.parametrize("index", [0, 3])  # without and with a rain gauge
def test_station_and_training_compute_the_same_features_bit_for_bit(run_folder, index):
    windows = station_windows(run_folder, index)
    with np.load(run_folder / "dataset.npz") as file:
        ends = [3600.0 * window.hour for window in windows]
        assert ends == file["day_end_s"][:DAYS].tolist()
        station = np.concatenate([window.features for window in windows])
        station = station.astype(np.float32)  # as for the network
        assert np.array_equal(station, file["features"][index, :DAYS])
        for name in ("theta_classical", "theta_classical_sigma"):
            values = np.concatenate([getattr(window, name) for window in windows])
            assert np.array_equal(values, file[name][index, :DAYS], equal_nan=True)


def test_sites_with_and_without_biomass_by_date_are_among_those_compared(run_folder):
    run = read_run(run_folder)
    sites = [dataset.observe_scenario(run, run_folder, i)[0].site for i in (0, 3)]
    assert {type(site.biomass_kg_m2) for site in sites} == {tuple, float}


def test_the_records_include_gaps_and_missing_weather(run_folder):
    with np.load(run_folder / "dataset.npz") as file:
        gap, rain_known, et0_known = (file["features"][..., i] for i in (2, 4, 6))
    assert gap.mean() > 0.01
    assert 0.1 < rain_known.mean() < 0.9
    assert 0.1 < et0_known.mean() < 0.999


def muon_records(days: int) -> list[RawRecord]:
    """Records of a detector with a muon channel that has gaps and jumps."""
    rng = np.random.default_rng(7)
    muons = rng.poisson(7000.0, 24 * days) * rng.choice([1.0] * 30 + [0.0, 0.8], 24 * days)
    return [
        RawRecord(
            end_s=1_700_002_800.0 // 3600.0 * 3600.0 + 3600.0 * i,
            duration_s=3600.0,
            counts=float(rng.poisson(700.0)),
            pressure_hpa=1000.0 + float(rng.normal(0.0, 5.0)),
            temperature_c=10.0 + float(rng.normal(0.0, 6.0)),
            relative_humidity_pct=70.0,
            channels={"muon_counts": float(n)} if rng.random() < 0.95 else {},
        )
        for i, n in enumerate(muons)
    ]


def test_muons_give_many_sites_and_each_alone_the_same_bits() -> None:
    n, records = 11, muon_records(20)
    number = np.arange(n, dtype=np.float64)
    muons = {"beta_per_hpa": 0.0015 + 1e-4 * number, "smoothing_h": 6.0 + 5.0 * number}
    site = Site(
        cosmic_n_cph=900.0 + 10.0 * number,
        bulk_density_g_cm3=np.full(n, 1.4),
        incoming_form="hawdon2014",
        incoming_ref=6900.0 + 20.0 * number,
        incoming_scale=1.5 + 0.1 * number,
        muons=Muons(**muons),
    )
    state, _, many = pipeline.step_block(site, pipeline.start(n), block_of(records, n))
    assert len(np.unique(state.incoming)) == n
    for k in range(n):
        alone = Site(
            cosmic_n_cph=float(site.cosmic_n_cph[k]),
            bulk_density_g_cm3=1.4,
            incoming_form="hawdon2014",
            incoming_ref=float(site.incoming_ref[k]),
            incoming_scale=float(site.incoming_scale[k]),
            muons=Muons(**{name: float(values[k]) for name, values in muons.items()}),
        )
        one, windows = pipeline.start(), []
        for record in records:
            one, _, closed = pipeline.step(alone, one, record)
            windows += closed
        features = np.concatenate([window.features for window in windows])
        assert features.tobytes() == np.ascontiguousarray(many.features[:, k]).tobytes()
        assert one.incoming[0] == state.incoming[k]
