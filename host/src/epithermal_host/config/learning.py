"""Define sections [train] and [quantize] of run.toml, without importing TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from epithermal_edge.inference.features import FEATURES

Range = tuple[str, float, float]


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Training: section [train] of run.toml."""

    seed: int = 1
    begin_with: str = ""  # network.npz to continue from, relative to run.toml; empty: a new network
    network: str = "lstm"  # kind of the network, see training/kinds.py
    inputs: tuple[str, ...] = ()  # names of the features that the network uses; empty: all
    hidden: int = 32  # width of the state
    epochs: int = 100  # maximum
    batch: int = 32  # series; small campaigns need many steps, large ones (2000 soils) use 256
    chunk: int = 180  # days of truncated backpropagation through time
    learning_rate: float = 5e-3  # at the start of the cosine schedule
    final_rate: float = 0.02  # at its end, as a share of the rate at the start
    clip_norm: float = 1.0  # of the whole gradient
    patience: int = 20  # epochs without a better validation before training stops
    spin_up_steps: int = 60  # days after a cold start that are not evaluated
    spin_up_weight: float = 0.1  # of these days in the loss
    known_weight: float = 1.0  # of soils whose N is known without error
    snow_weight: float = 0.1  # of days with snow in the loss; they are not evaluated
    anomaly: float = 0.0  # share of the mean error in a chunk that is ignored where N is unknown
    sigma_weight: float = 0.1  # of the likelihood of sigma in the loss
    layers_weight: float = 0.2  # of the mean error of 0-10 and 30-60 cm in the loss
    sigma_power: float = 1.0  # errors are weighted by sigma to the power of minus this
    huber: float = 0.0  # larger errors of theta count linearly [0.05 m3 m-3]; 0: off
    average: float = 0.0  # decay of the weights' moving average per update; 0: the last weights
    mask_both: float = 0.3  # probability that rain and ET0 of a series are hidden
    mask_one: float = 0.1  # probability, for each, that it alone is hidden
    jitter: float = 0.0  # noise on a site's description in each epoch, over its spread
    weather_error: float = 0.0  # log error of a place's rain and ET0, drawn in each epoch
    mask_soil: float = 0.5  # probability that a series' soil description is hidden
    mask_cover: float = 0.3  # probability that its vegetation is hidden

    def __post_init__(self) -> None:
        _check(
            self,
            ("seed", 0, 2**31),
            ("hidden", 1, 1024),
            ("epochs", 1, 100_000),
            ("batch", 1, 100_000),
            ("chunk", 10, 100_000),
            ("learning_rate", 0, 1),
            ("final_rate", 0, 1),
            ("clip_norm", 1e-6, 1e6),
            ("patience", 1, 100_000),
            ("spin_up_steps", 0, 3650),
            ("spin_up_weight", 0, 1),
            ("snow_weight", 0, 1),
            ("known_weight", 0, 100),
            ("anomaly", 0, 1),
            ("sigma_weight", 0, 100),
            ("layers_weight", 0, 100),
            ("sigma_power", 0, 2),
            ("huber", 0, 100),
            ("average", 0, 0.99999),
            ("mask_both", 0, 1),
            ("mask_one", 0, 1),
            ("mask_soil", 0, 1),
            ("mask_cover", 0, 1),
            ("jitter", 0, 1),
            ("weather_error", 0, 1),
            more=_input_faults(self.inputs),
        )


@dataclass(frozen=True, slots=True)
class QuantizeConfig:
    """Quantization and its acceptance test: section [quantize] of run.toml."""

    gate_m3_m3: float = 0.002  # largest accepted error against the float network
    agree_m3_m3: float = 1e-5  # largest accepted difference between two runtimes
    soils: int = 12  # unseen soils of the test, each with all inputs and with counts alone
    years: float = 5.0  # minimum length of a test series; shorter ones are joined

    def __post_init__(self) -> None:
        _check(
            self,
            ("gate_m3_m3", 0, 0.1),
            ("agree_m3_m3", 0, 0.1),
            ("soils", 1, 100_000),
            ("years", 0, 100),
        )


def _input_faults(inputs: tuple[str, ...]) -> list[str]:
    """List the errors in the names of a network's inputs; an empty tuple means all inputs."""
    known = [feature.name for feature in FEATURES]
    unknown = [name for name in inputs if name not in known]
    faults = [f"inputs: {name} is none of {', '.join(known)}" for name in unknown]
    if len(set(inputs)) < len(inputs):
        faults.append("inputs: a name appears twice")
    if inputs and "theta_inv" not in inputs:
        faults.append("inputs must include theta_inv, which the network corrects")
    return faults


def _check(config: object, *ranges: Range, more: Sequence[str] = ()) -> None:
    """Raise ValueError that lists every number outside its range, and `more` errors."""
    faults = [
        f"{name} must be within {low:g} to {high:g}"
        for name, low, high in ranges
        if not low <= getattr(config, name) <= high
    ]
    faults += more
    if faults:
        raise ValueError("; ".join(faults))
