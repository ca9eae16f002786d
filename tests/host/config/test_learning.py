"""Invalid settings are rejected when run.toml is read, without loading TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from epithermal_host.config.learning import QuantizeConfig, TrainConfig


def test_all_numbers_out_of_range_are_reported_together():
    with pytest.raises(
        ValueError, match=r"hidden must be within .*; mask_both must be within 0 to 1"
    ):
        TrainConfig(hidden=0, mask_both=1.5)
    with pytest.raises(ValueError, match=r"average must be within .*; mask_soil must be within"):
        TrainConfig(average=1.0, mask_soil=-0.1)
    with pytest.raises(ValueError, match=r"gate_m3_m3.*; agree_m3_m3.*; years"):
        QuantizeConfig(gate_m3_m3=1.0, agree_m3_m3=-1e-5, years=-1.0)


def test_a_nan_is_out_of_every_range():
    with pytest.raises(ValueError, match="learning_rate"):
        TrainConfig(learning_rate=float("nan"))


@pytest.mark.parametrize(
    ("inputs", "fault"),
    [
        (("theta_inv", "moon"), "inputs: moon is none of theta_inv, theta_inv_sigma"),
        (("theta_inv", "gap", "gap"), "inputs: a name appears twice"),
        (("gap", "rain_mm"), "inputs must include theta_inv"),
    ],
)
def test_inputs_that_the_station_does_not_compute_or_the_network_needs_are_faults(inputs, fault):
    with pytest.raises(ValueError, match=fault):
        TrainConfig(inputs=inputs)
    assert TrainConfig(inputs=("gap", "theta_inv")).inputs == ("gap", "theta_inv")


def test_importing_settings_training_evaluation_and_release_loads_no_tensorflow():
    code = (
        "import os, sys; before = os.fstat(2)\n"
        "from epithermal_host.bundles import release\n"
        "from epithermal_host.compute import isolated_runtime\n"
        "from epithermal_host.config import learning\n"
        "from epithermal_host.evaluation import evaluate\n"
        "from epithermal_host.retraining import retrain\n"
        "from epithermal_host.training import quantize, train\n"
        "assert os.fstat(2) == before and 'TF_CPP_MIN_LOG_LEVEL' not in os.environ\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
