"""Define the errors that only the host raises."""

from __future__ import annotations

from epithermal_edge.errors import EpithermalError


class SolverError(EpithermalError):
    """A soil column could not be solved: drop the scenario and record the reason.

    Parameters
    ----------
    soil : [-]
        Name of the simulated soil, for the campaign's log.
    day : [d]
        Simulated time at which the solver stopped; NaN when it never started.
    reason : [-]
        Cause and, where there is one, remedy.
    """

    def __init__(self, soil: str, day: float, reason: str) -> None:
        super().__init__(f"{soil}: day {day:.4g}: {reason}")
        self.soil = soil
        self.day = day
        self.reason = reason

    def __reduce__(self) -> tuple[type[SolverError], tuple[str, float, str]]:
        return type(self), (self.soil, self.day, self.reason)
