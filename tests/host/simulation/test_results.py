"""Shards of results: complete or absent, one file for many scenarios, damage is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from epithermal_edge.errors import ConfigError
from epithermal_host.config.population import Population
from epithermal_host.config.run_toml import CampaignConfig
from epithermal_host.simulation import results
from epithermal_host.simulation.results import (
    SHARD,
    ShardWriter,
    campaign_hash,
    read_place,
    read_result,
    record,
    shard_path,
    stored,
)
from epithermal_host.simulation.scenario import Scenario, sample
from epithermal_host.simulation.simulate import Result, simulate

PERIOD = CampaignConfig(seed=1, soils=1, years=1, spin_up_years=0)
KEY = "k" * 64


@pytest.fixture(scope="module")
def simulated() -> list[tuple[Scenario, Result]]:
    places = [sample(Population(textures=("loam",)), 1, index) for index in range(3)]
    return [(place, simulate(place, PERIOD)) for place in places]


def write(folder, rows, missing=range(3)):
    writer = ShardWriter(folder, KEY, missing)
    for row in rows:
        writer.add(int(row["index"][0]), row)
    writer.flush()


@pytest.fixture
def folder(tmp_path, simulated):
    write(tmp_path, [record(place, result, KEY) for place, result in simulated])
    return tmp_path


def test_a_result_is_read_back_with_every_bit(folder, simulated):
    for index, (place, result) in enumerate(simulated):
        back = read_result(folder, index)
        for name in results.SERIES:
            np.testing.assert_array_equal(getattr(back, name), getattr(result, name))
        for name in results.WEATHER:
            np.testing.assert_array_equal(
                getattr(back.weather, name), getattr(result.weather, name)
            )
        assert back.balance_error_cm == result.balance_error_cm
        assert read_place(folder, index) == place.to_dict()
    assert stored(folder) == dict.fromkeys(range(3), KEY)


def test_the_order_of_arrival_and_a_pause_change_no_byte(folder, simulated, tmp_path_factory):
    rows = [record(place, result, KEY) for place, result in simulated]
    other = tmp_path_factory.mktemp("other")
    write(other, [rows[2]])
    write(other, [rows[1], rows[0]], missing=(0, 1))
    assert shard_path(other, 0).read_bytes() == shard_path(folder, 0).read_bytes()
    assert campaign_hash(other, 3) == campaign_hash(folder, 3) != campaign_hash(folder, 2)


def test_a_shard_is_on_disk_as_soon_as_its_last_scenario_has_come_or_failed(tmp_path, simulated):
    rows = [record(place, result, KEY) for place, result in simulated]
    writer = ShardWriter(tmp_path, KEY, [0, 1, 2, SHARD])
    writer.add(0, rows[0])
    writer.add(2, rows[2])
    assert not stored(tmp_path)
    writer.add(1, None)
    assert list(stored(tmp_path)) == [0, 2]


def test_a_result_waits_for_a_slow_shard_no_longer_than_hold_s(tmp_path, simulated, monkeypatch):
    monkeypatch.setattr(results, "HOLD_S", -1.0)
    place, result = simulated[0]
    ShardWriter(tmp_path, KEY, range(3)).add(0, record(place, result, KEY))
    assert list(stored(tmp_path)) == [0]


def test_a_record_of_another_campaign_leaves_its_shard(folder, simulated):
    place, result = simulated[1]
    writer = ShardWriter(folder, "x" * 64, [1])
    writer.add(1, record(place, result, "x" * 64))
    assert stored(folder) == {1: "x" * 64}


@pytest.mark.parametrize("place", [0.4, 0.6, 0.95])
def test_one_changed_bit_of_a_record_is_noticed(folder, place):
    path = shard_path(folder, 1)
    content = bytearray(path.read_bytes())
    size = results._open(path).dtype.itemsize
    content[len(content) - 2 * size + int(place * size)] ^= 4
    path.write_bytes(content)
    read_result(folder, 0)
    read_result(folder, 2)
    with pytest.raises(ConfigError, match=r"shard-00000\.npy: damaged .*simulate again"):
        read_result(folder, 1)


@pytest.mark.parametrize("size", [0, 5, 100, 50_000])
def test_a_shard_cut_off_is_absent_for_a_resumed_campaign_and_refused_by_readers(folder, size):
    path = shard_path(folder, 0)
    path.write_bytes(path.read_bytes()[:size])
    assert stored(folder) == {}
    with pytest.raises(ConfigError, match="damaged"):
        read_result(folder, 0)


def test_a_missing_scenario_and_results_of_0_1_are_reported_with_the_remedy(folder, tmp_path):
    with pytest.raises(ConfigError, match="has no scenario 7"):
        read_result(folder, 7)
    with pytest.raises(ConfigError, match="missing, and with it scenario 70: simulate again"):
        read_result(folder, 70)
    (tmp_path / "campaign" / "scenario-000070.npz").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"version 0\.1, .*: delete .*campaign and simulate"):
        read_result(folder, 70)


def test_files_do_not_grow_with_every_soil(tmp_path, simulated):
    place, result = simulated[0]
    rows = record(place, result, KEY)
    soils = 3 * SHARD
    writer = ShardWriter(tmp_path, KEY, range(soils))
    for index in range(soils):
        own = rows.copy()
        own["index"] = index
        writer.add(index, own)
    assert len(list((tmp_path / "campaign").iterdir())) == 3
    assert len(stored(tmp_path)) == soils
