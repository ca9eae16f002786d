"""Join several networks: the mean of their theta, and a sigma that includes how they differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.inference.bundle import State, StepFn, Vector

SIGMA = 1  # of the outputs


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Join several step functions, each with state tensors of its own, into one."""

    members: tuple[StepFn, ...]
    sizes: tuple[int, ...]  # number of state tensors of each member
    runtime: str  # that they run on

    def __call__(self, x: Vector, state: State) -> tuple[Vector, State]:
        """Return joined answer and new state; the state lists the members' tensors in order."""
        answers: list[Vector] = []
        after: list[Vector] = []
        at = 0
        for step, size in zip(self.members, self.sizes, strict=True):
            y, new = step(x, state[at : at + size])
            answers.append(y)
            after += new
            at += size
        if at != len(state):
            raise ValueError(f"a state of {at} arrays, not of {len(state)}")
        return joined(np.stack(answers)), tuple(after)


def joined(answers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Join the answers of the members of an ensemble.

    Parameters
    ----------
    answers : (M, ..., K) [m3 m-3]
        Of each member, in the order of the bundle's outputs.

    Returns
    -------
    (..., K) [m3 m-3]
        Means; sigma^2 is the mean of the members' sigma^2 plus the variance of their theta: that
        of a mixture of equal parts.

    References
    ----------
    Lakshminarayanan, Pritzel and Blundell (2017), section 2.4.
    """
    y = answers.astype(np.float64)
    out: NDArray[np.float64] = y.mean(axis=0)
    out[..., SIGMA] = np.sqrt(np.mean(y[..., SIGMA] ** 2, axis=0) + y[..., 0].var(axis=0))
    return out.astype(np.float32)
