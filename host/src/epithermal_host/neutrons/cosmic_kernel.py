"""Run the inner loops of COSMIC's fast path: Gauss integration of layers, tabulated escape sum."""

from __future__ import annotations

import math

import numpy as np

from epithermal_host.arrays import Array
from epithermal_host.compute.numba_cache import compiled

X_MAX = 20.0  # optical depth below which no neutron escapes: E(20) = 3e-10
CELLS = 1024
SCALE = CELLS / math.sqrt(X_MAX)
GAUSS = 0.5 - 0.5 / math.sqrt(3.0)  # first node of the two-point rule on (0, 1)


@compiled
def _escape(table: Array, x: float) -> float:
    """Interpolate COSMIC's sum over angles at optical depth x."""
    s = math.sqrt(x) * SCALE
    cell = int(s)
    if cell >= CELLS:
        return 0.0
    f = s - cell
    row = table[cell]
    return float(row[0] + f * (row[1] + f * (row[2] + f * row[3])))


@compiled
def _decay(y: float) -> float:
    """Compute exp(-y) of the 0 to 0.4 of a piece by its series, to 5e-12."""
    low = 1.0 - y * (1.0 - y * (1.0 / 2.0 - y * (1.0 / 6.0 - y * (1.0 / 24.0 - y / 120.0))))
    y3 = y * y * y
    high = 1.0 / 720.0 - y * (1.0 / 5040.0 - y * (1.0 / 40320.0 - y / 362880.0))
    return low + y3 * y3 * high


@compiled
def _piece(table: Array, x: float, rx: float, ry: float, step: float) -> tuple[float, float]:
    """Integrate exp(-y) E(x) over a piece of soil in which x and y grow at rates rx and ry.

    y is 0 at its upper end. Return the integral and exp(-y) at its lower end.
    """
    a = GAUSS * step
    b = step - a
    upper, lower = _decay(ry * a), _decay(ry * b)
    total = upper * _escape(table, x + rx * a) + lower * _escape(table, x + rx * b)
    return 0.5 * step * total, upper * lower


@compiled
def _walk(
    table: Array,
    thickness: Array,
    density: Array,
    water: Array,
    alpha: Array,
    l3: Array,
    lengths: Array,
    target: float,
    by_layer: Array,
) -> tuple[float, float]:
    """Sum the neutrons of a profile until `target`; return the sum and the depth [cm] reached.

    Stores the sum of each layer in `by_layer` (nl), unless it is empty.
    """
    total = x = depth = 0.0
    fast = 1.0  # share of the high-energy neutrons that reach this depth
    keep = by_layer.size > 0
    for j in range(thickness.size):
        rx = density[j] / l3[j] + water[j] / lengths[2]
        ry = density[j] / lengths[0] + water[j] / lengths[1]
        source = alpha[j] * density[j] + water[j]
        # Gauss' rule needs short pieces near the surface, where E is steepest.
        first, growth, longest = 0.03 / rx, 0.3 / rx, 0.4 / ry
        left = thickness[j]
        before = total
        while left > 0.0 and x < X_MAX:
            step = min(left, first + growth * x, longest)
            piece, decay = _piece(table, x, rx, ry, step)
            part = source * fast * piece
            if total + part >= target:
                rest = (target - total) / (source * fast)
                return total, depth + _inside(table, x, rx, ry, step, rest)
            total += part
            x += rx * step
            fast *= decay
            depth += step
            left -= step
        if keep:
            by_layer[j] = total - before
        if x >= X_MAX:
            break
    return total, depth


@compiled
def _inside(table: Array, x: float, rx: float, ry: float, step: float, target: float) -> float:
    """Compute by bisection the length of a piece whose neutrons sum to `target`."""
    low, high = 0.0, step
    for _ in range(30):
        middle = 0.5 * (low + high)
        if _piece(table, x, rx, ry, middle)[0] < target:
            low = middle
        else:
            high = middle
    return high


@compiled
def rates(
    table: Array,
    thickness: Array,
    density: Array,
    water: Array,
    alpha: Array,
    l3: Array,
    lengths: Array,
    out: Array,
) -> None:
    """Compute the neutron rate over N of each profile; soil arrays (np or 1, nl), `out` (np)."""
    none = np.empty(0)
    for i in range(out.size):
        d = i if density.shape[0] > 1 else 0
        a = i if alpha.shape[0] > 1 else 0
        c = i if l3.shape[0] > 1 else 0
        out[i] = _walk(
            table, thickness[i], density[d], water[i], alpha[a], l3[c], lengths, np.inf, none
        )[0]


@compiled
def contributions(
    table: Array,
    thickness: Array,
    density: Array,
    water: Array,
    alpha: Array,
    l3: Array,
    lengths: Array,
    by_layer: Array,
) -> None:
    """Compute the neutrons of each layer; arguments as `rates`, `by_layer` (np, nl) of zeros."""
    for i in range(by_layer.shape[0]):
        d = i if density.shape[0] > 1 else 0
        a = i if alpha.shape[0] > 1 else 0
        c = i if l3.shape[0] > 1 else 0
        _walk(
            table, thickness[i], density[d], water[i], alpha[a], l3[c], lengths, np.inf, by_layer[i]
        )


@compiled
def depths(
    table: Array,
    thickness: Array,
    density: Array,
    water: Array,
    alpha: Array,
    l3: Array,
    lengths: Array,
    target: Array,
    out: Array,
) -> None:
    """Compute the depth [cm] above which `target` (np) neutrons originate; arguments as `rates`."""
    none = np.empty(0)
    for i in range(out.size):
        d = i if density.shape[0] > 1 else 0
        a = i if alpha.shape[0] > 1 else 0
        c = i if l3.shape[0] > 1 else 0
        out[i] = _walk(
            table, thickness[i], density[d], water[i], alpha[a], l3[c], lengths, target[i], none
        )[1]
