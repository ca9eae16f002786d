"""The faults of the host that a caller can act on."""

from __future__ import annotations

from epithermal_edge.errors import EpithermalError


class SolverError(EpithermalError):
    """A soil column could not be solved: drop the scenario, record why.

    Parameters
    ----------
    soil : [-]
        What was simulated, for the reader of a campaign's log.
    day : [d]
        Simulated time at which it stopped; NaN when it never started.
    reason : [-]
        What went wrong and, where there is one, the remedy.
    """

    def __init__(self, soil: str, day: float, reason: str) -> None:
        super().__init__(f"{soil}: day {day:.4g}: {reason}")
        self.soil = soil
        self.day = day
        self.reason = reason

    def __reduce__(self) -> tuple[type[SolverError], tuple[str, float, str]]:
        return type(self), (self.soil, self.day, self.reason)
