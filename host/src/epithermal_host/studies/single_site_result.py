"""Define the result of a single-site study and the names of its methods."""

from __future__ import annotations

from dataclasses import dataclass

from epithermal_host.arrays import Array
from epithermal_host.evaluation.methods import BEST_FILTERED, USUAL_FILTERED, short
from epithermal_host.evaluation.metrics import Stats
from epithermal_host.studies.single_site_place import Record, StudyConfig

USUAL, BEST = short(USUAL_FILTERED), short(BEST_FILTERED)
COUNTS, WEATHER = "LSTM, counts alone", "LSTM, + rain and ET0"


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """Result of a study."""

    config: StudyConfig
    record: Record  # of a detector that was not used in training
    estimates: dict[str, Array]  # (T,) by method [m3 m-3]
    parts: dict[str, slice]  # days of training, validation and test
    best_t_d: float  # time constant of the filter, fitted on the training days
    table: dict[str, dict[str, Stats]]  # by days, by method
    elsewhere: dict[str, dict[str, float]]  # RMSE by changed soil, by method [m3 m-3]
    best_epoch: int
    epochs: int
    wall_s: float
