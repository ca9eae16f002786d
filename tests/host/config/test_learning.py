"""Invalid settings are rejected when run.toml is read, without loading TensorFlow."""

from __future__ import annotations

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


def test_settings_evaluation_and_release_load_no_tensorflow():
    code = (
        "import sys; from epithermal_host.bundles import release; "
        "from epithermal_host.compute import isolated_runtime; "
        "from epithermal_host.config import learning; "
        "from epithermal_host.evaluation import evaluate; "
        "sys.exit(int('tensorflow' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True, timeout=60)  # fmt: skip
    assert done.stdout == "False\n"
