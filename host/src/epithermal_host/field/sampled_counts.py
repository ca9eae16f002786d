"""Correct recorded counts with the station's own pipeline, and average them over a period."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from epithermal_edge.inference import block, engine, pipeline
from epithermal_edge.inference.block import Block
from epithermal_edge.inference.features import Windows
from epithermal_edge.records import Quality, RawRecord
from epithermal_edge.site import Site
from epithermal_edge.times import HOUR_S
from epithermal_host.arrays import Array, Integers

LEAST_BLOCK = 24 * 7  # records that pass the pipeline at once, however many sites there are
_COLLECTED = ("n_corr_cph", "n_corr_sigma_cph", "duration_s", "counts", "f_h", "abs_humidity_g_m3")


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """Records after atmospheric correction, in time order; each (n,)."""

    end_s: Array  # Unix time [s, UTC]
    live_s: Array  # counting time [s]; 0 if the count is not usable
    n_cph: Array  # N_corr [counts h-1]; 0 if the count is not usable
    poisson_cph: Array  # its standard error due to counting [counts h-1]
    shared: Array  # its relative error common to all records of a day (intensity monitor)
    f_h: Array  # correction factor for humidity
    humidity_g_m3: Array
    pressure_hpa: Array
    quality: Integers  # Quality


@dataclass(frozen=True, slots=True)
class Mean:
    """Mean of the usable records of a period."""

    live_s: float
    n_cph: float  # N_corr [counts h-1]
    sigma_cph: float  # its standard error: counting and monitor
    n_humid_cph: float  # the same without f_h, for UTS
    humidity_g_m3: float  # NaN: unknown in all records
    pressure_hpa: float
    quality: Quality  # union of the records' flags


def corrected(site: Site, records: Iterable[RawRecord]) -> Corrected:
    """Correct every record with the station's pipeline, from its cold start."""
    return collect((block, c) for block, c, _ in passed(site, records))


def passed(
    site: Site, records: Iterable[RawRecord], n: int = 1, phases: int = 1
) -> Iterator[tuple[Block, block.Corrected, Windows]]:
    """Pass records through the pipeline of n sites, many at a time, and yield what it gives."""
    state = pipeline.start(n, phases)
    for some in engine.blocks(records, max(engine.BLOCK // n, LEAST_BLOCK)):
        columns = block.block_of(some, n)
        state, output, windows = pipeline.step_block(site, state, columns)
        yield columns, output, windows


def collect(blocks: Iterable[tuple[Block, block.Corrected]]) -> Corrected:
    """Collect corrected records into columns; of several sites use the first."""
    rows: list[tuple[float, ...]] = []
    flags: list[int] = []
    for records, output in blocks:
        columns = (output.values[name][:, 0].tolist() for name in _COLLECTED)
        pressure = records.fields["pressure_hpa"][:, 0].tolist()
        rows += map(_row, records.end_s.tolist(), *columns, pressure)
        flags += output.quality[:, 0].tolist()
    table = np.array(rows, dtype=np.float64).reshape(-1, 8).T
    end, live, n_cph, poisson_cph, shared_error, f_h, vapour, pressure_hpa = table
    return Corrected(
        end_s=end,
        live_s=live,
        n_cph=n_cph,
        poisson_cph=poisson_cph,
        shared=shared_error,
        f_h=f_h,
        humidity_g_m3=vapour,
        pressure_hpa=pressure_hpa,
        quality=np.array(flags, dtype=np.int64),
    )


def _row(
    end_s: float,
    n_cph: float,
    sigma_cph: float,
    live_s: float,
    counts: float,
    f_h: float,
    vapour: float,
    pressure_hpa: float,
) -> tuple[float, ...]:
    """Return a record's values in the order of `Corrected`, apart from its flags."""
    usable = math.isfinite(n_cph) and live_s > 0.0
    poisson = n_cph / math.sqrt(counts) if usable and counts > 0.0 else 0.0
    excess = max(sigma_cph**2 - poisson**2, 0.0) if usable else 0.0
    shared = math.sqrt(excess) / n_cph if usable and n_cph > 0.0 else 0.0
    used = (live_s, n_cph) if usable else (0.0, 0.0)
    return (end_s, *used, poisson, shared, f_h, vapour, pressure_hpa)


def mean_over(series: Corrected, begin_s: float, end_s: float) -> Mean:
    """Average the records that end in a period, weighted by their counting time.

    Parameters
    ----------
    begin_s, end_s : [s, UTC]
        A record that ends at `begin_s` is excluded.
    """
    rows = (series.end_s > begin_s) & (series.end_s <= end_s) & (series.live_s > 0.0)
    live = series.live_s[rows]
    total = float(live.sum())
    if total == 0.0:
        return Mean(0.0, *(math.nan,) * 5, Quality.MISSING)
    share = live / total
    n = float(share @ series.n_cph[rows])
    counting = math.sqrt(float(np.sum((share * series.poisson_cph[rows]) ** 2)))
    quality = int(np.bitwise_or.reduce(series.quality[rows]))
    known = (series.quality[rows] & int(Quality.HUMIDITY_MISSING)) == 0
    vapour = series.humidity_g_m3[rows][known]
    return Mean(
        live_s=total,
        n_cph=n,
        sigma_cph=math.hypot(counting, n * float(share @ series.shared[rows])),
        n_humid_cph=float(share @ (series.n_cph[rows] / series.f_h[rows])),
        humidity_g_m3=float(np.average(vapour, weights=live[known])) if known.any() else math.nan,
        pressure_hpa=float(share @ series.pressure_hpa[rows]),
        quality=Quality(quality),
    )


def daily(series: Corrected, day_end_s: Array) -> Array:
    """Average over whole days; NaN on days with less than 12 h of counting.

    Returns
    -------
    (3, T)
        N_corr, N_corr without f_h [counts h-1], absolute humidity [g m-3].
    """
    day = 24.0 * HOUR_S
    means = [mean_over(series, end - day, end) for end in day_end_s.tolist()]
    enough = np.array([m.live_s >= 0.5 * day for m in means])
    values = np.array([(m.n_cph, m.n_humid_cph, m.humidity_g_m3) for m in means]).reshape(-1, 3)
    return np.where(enough, values.T, np.nan)
