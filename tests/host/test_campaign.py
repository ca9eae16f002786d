"""Campaigns: seeds decide the bytes, interruptions cost nothing, failures are recorded."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_host import campaign
from epithermal_host.config import CampaignConfig, RunConfig, read_run
from epithermal_host.errors import SolverError
from epithermal_host.scenario import sample
from epithermal_host.simulate import FLUXES, simulate

TEXT = """
[campaign]
seed = 5
soils = 4
years = 1
[population]
textures = ["loam", "silt_loam", "clay_loam"]
"""


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    path = tmp_path / "run.toml"
    path.write_text(TEXT, encoding="utf-8")
    return read_run(path)


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((folder / "campaign").glob("*.npz"))}


def test_one_worker_and_two_give_the_same_bytes(config, tmp_path):
    one = campaign.run(config, tmp_path / "one", workers=1, progress=False)
    two = campaign.run(config, tmp_path / "two", workers=2, progress=False)
    assert one == two and one.made == 4
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert f'data_hash = "{one.data_hash}"' in (tmp_path / "one" / "run.toml").read_text()


def test_what_is_there_is_not_done_again_and_what_is_damaged_is(config, tmp_path):
    folder = tmp_path / "run"
    whole = campaign.run(config, folder, workers=1, progress=False)
    before = files(folder)
    campaign.scenario_path(folder, 0).unlink()
    damaged = campaign.scenario_path(folder, 2)
    damaged.write_bytes(damaged.read_bytes()[:1000])
    left_over = folder / "campaign" / ".scenario-000003.npz.123.part"
    left_over.write_bytes(b"half")
    stamp = campaign.scenario_path(folder, 1).stat().st_mtime_ns
    again = campaign.run(config, folder, workers=1, progress=False)
    assert (again.made, again.found) == (2, 2)
    assert not left_over.exists()
    assert files(folder) == before and again.data_hash == whole.data_hash
    assert campaign.scenario_path(folder, 1).stat().st_mtime_ns == stamp


def test_a_longer_campaign_keeps_its_first_scenarios(config, tmp_path):
    campaign.run(config, tmp_path / "run", workers=1, progress=False)
    longer = dataclasses.replace(config, campaign=dataclasses.replace(config.campaign, soils=5))
    done = campaign.run(longer, tmp_path / "run", workers=1, progress=False)
    assert (done.made, done.found) == (1, 4)


def test_a_folder_of_another_campaign_is_refused(config, tmp_path):
    campaign.run(config, tmp_path / "run", workers=1, progress=False)
    other = dataclasses.replace(config, campaign=dataclasses.replace(config.campaign, seed=6))
    with pytest.raises(ConfigError, match="holds another campaign"):
        campaign.run(other, tmp_path / "run", workers=1, progress=False)


def test_a_result_holds_a_water_balance(config):
    scenario = sample(config.population, 5, 0)
    result = simulate(scenario, config.campaign)
    days = config.campaign.days
    assert result.theta.shape == (days + 1, 41) and result.rate_cph.shape == (days + 1,)
    assert result.balance_error_cm < 1e-4
    width = np.gradient(result.z_cm) * np.where(np.arange(41) % 40 == 0, 0.5, 1.0)
    stored = (result.theta[-1] - result.theta[0]) @ width
    flux = dict(zip(FLUXES, result.fluxes_cm, strict=True))
    gained = flux["infiltration"] - flux["evaporation"] - flux["transpiration"] - flux["drainage"]
    assert stored == pytest.approx(gained, abs=1e-3)  # theta is kept in single precision
    assert np.all((result.means > 0.0) & (result.means < 0.6))
    wetter = np.corrcoef(result.means[1], result.rate_cph)[0, 1]
    assert wetter < -0.3


def test_a_failed_scenario_is_recorded_and_the_rest_goes_on(config, tmp_path, monkeypatch):
    def stubborn(scenario, period):
        if scenario.index == 1:
            raise SolverError("loam", 12.5, "will not converge")
        return simulate(scenario, period)

    monkeypatch.setattr(campaign, "simulate", stubborn)
    done = campaign.run(config, tmp_path / "run", workers=1, progress=False)
    assert (done.made, len(done.failed)) == (3, 1)
    record = json.loads((tmp_path / "run" / campaign.FAILED).read_text())
    assert record == {"index": 1, "soil": "loam", "day": 12.5, "reason": "will not converge"}
    monkeypatch.undo()
    healed = campaign.run(config, tmp_path / "run", workers=1, progress=False)
    assert (healed.made, healed.failed) == (1, ())
    assert not (tmp_path / "run" / campaign.FAILED).exists()


def test_a_campaign_gives_up_when_many_fail(config, tmp_path, monkeypatch, caplog):
    def broken(scenario: object, period: CampaignConfig) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(campaign, "simulate", broken)
    with pytest.raises(EpithermalError, match="2 of 4 scenarios failed"):
        campaign.run(config, tmp_path / "run", workers=1, progress=False)
    assert "Traceback" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_ends_a_campaign_cleanly_and_it_goes_on(config, tmp_path):
    long = TEXT.replace("soils = 4", "soils = 400")
    (tmp_path / "long.toml").write_text(long, encoding="utf-8")
    folder = tmp_path / "run"
    command = [sys.executable, "-c", "import sys; from epithermal_host.cli import main; "
               "sys.exit(main(sys.argv[1:]))", "simulate", str(tmp_path / "long.toml"),
               "--out", str(folder), "--workers", "2"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 60.0
    while len(files(folder)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in stderr and b"start the same command again" in stderr
    assert 3 <= len(files(folder)) < 400
    assert not list((folder / "campaign").glob("*.part"))
