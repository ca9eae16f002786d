"""Run the loops of the weather from day to day, compiled: noise, wet days, snow, litter.

Each value depends on the day before, so numpy cannot vectorise them. `compiled_exactly` keeps
every rounding: the results have the bits of the same loops in Python.
"""

from __future__ import annotations

import numpy as np

from epithermal_host.arrays import Array, Mask
from epithermal_host.compute.numba_cache import compiled_exactly


@compiled_exactly
def autoregressive(innovation: Array, memory: Array) -> Array:
    """Compute first-order autoregressive series of unit variance, (days, k), memories (k,)."""
    out = np.empty_like(innovation)
    for k in range(memory.size):
        scale = np.sqrt(1.0 - memory[k] * memory[k])
        x = innovation[0, k]
        out[0, k] = x
        for i in range(1, innovation.shape[0]):
            x = memory[k] * x + scale * innovation[i, k]
            out[i, k] = x
    return out


@compiled_exactly
def wet_days(draw: Array, after_dry: Array, after_wet: Array) -> Mask:
    """Draw a Markov chain from uniform numbers and daily probabilities; each (days,)."""
    out = np.empty(draw.size, dtype=np.bool_)
    wet = False
    for i in range(draw.size):
        wet = draw[i] < (after_wet[i] if wet else after_dry[i])
        out[i] = wet
    return out


@compiled_exactly
def snow_and_melt(precipitation: Array, freezes: Mask, melt_mm: Array) -> tuple[Array, Array]:
    """Compute snow at each day's end and its melt [mm] from the melt that the heat allows."""
    snow, melted = np.zeros(melt_mm.size), np.zeros(melt_mm.size)
    store = 0.0
    begun = False  # before the first frost there is no snow, whatever the heat
    for i in range(melt_mm.size):
        begun = begun or freezes[i]
        if not begun:
            continue
        store += precipitation[i] if freezes[i] else 0.0
        melt = min(store, melt_mm[i])
        store -= melt
        snow[i], melted[i] = store, melt
    return snow, melted


@compiled_exactly
def litter(capacity_mm: float, supply_mm: Array, demand_mm: Array) -> tuple[Array, Array, Array]:
    """Compute water in the litter at each day's end, daily uptake and evaporation [mm]."""
    days = supply_mm.size
    stored, caught, dried = np.zeros(days), np.zeros(days), np.zeros(days)
    now = 0.0
    for i in range(days):
        caught[i] = min(supply_mm[i], capacity_mm - now)
        now += caught[i]
        dried[i] = min(demand_mm[i], now)
        now -= dried[i]
        stored[i] = now
    return stored, caught, dried
