"""Define the result of a single-site study and the names of its methods."""

from __future__ import annotations

from dataclasses import dataclass

from epithermal_host.arrays import Array
from epithermal_host.evaluation.methods import (
    BEST_FILTERED,
    USUAL_FILTERED,
    inversion_by,
    short,
)
from epithermal_host.evaluation.metrics import Stats
from epithermal_host.studies.single_site_place import Record
from epithermal_host.studies.single_site_toml import Place

USUAL, BEST = short(USUAL_FILTERED), short(BEST_FILTERED)
COUNTS, WEATHER = "LSTM, counts alone", "LSTM, + rain and ET0"


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """Result of a study."""

    place: Place
    record: Record  # of a detector that was not used in training
    irrigation_mm: Array  # (T,)
    estimates: dict[str, Array]  # (T,) by method; of the LSTM the mean of the networks [m3 m-3]
    networks: dict[str, Array]  # (K, T) each network's own estimates, by method [m3 m-3]
    parts: dict[str, slice]  # days of training, validation and test
    best_t_d: float  # time constant of the filter, fitted on the training days
    table: dict[str, dict[str, Stats]]  # by days, by method
    elsewhere: dict[str, dict[str, float]]  # RMSE by changed soil, by method [m3 m-3]
    seasons: dict[str, dict[str, Stats]]  # test days of each season of the year, by method
    best_epoch: int  # of the first network
    epochs: int
    wall_s: float

    @property
    def inversion(self) -> str:
        """Name of the inversion by the response of the place."""
        return inversion_by(self.place.config.response)
