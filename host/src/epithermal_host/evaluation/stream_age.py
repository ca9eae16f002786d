"""Compute the error against the age of the stream and against the length of an outage."""

from __future__ import annotations

import itertools

import numpy as np

from epithermal_edge.inference.bundle import Bundle
from epithermal_host.arrays import Array, Integers
from epithermal_host.bundles import streams
from epithermal_host.compute.crew import Crew
from epithermal_host.evaluation.methods import NETWORK
from epithermal_host.evaluation.metrics import rms
from epithermal_host.evaluation.result import Curve, Estimate, Judged, Options

AGES_D = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60, 90, 120, 180, 270)  # then every half year
HALF_YEAR_D = 182
WARM_D = 180  # days of a stream before its outage
OUTAGE_D = 30
LENGTHS_D = (1, 2, 3, 5, 7, 10, 14, 20, 30)
OUTAGES = 300  # maximum number; two per soil
OUTAGE_SEED = 20260


def since_start(judged: Judged) -> tuple[Curve, ...]:
    """Compute the error against days since the cold start, including the spin-up."""
    series = judged.unseen.series
    days = series.theta.shape[1]
    edges = [*(d for d in AGES_D if d < days), *range(365, days - 30, HALF_YEAR_D), days]
    usable = (
        np.isfinite(series.theta) & np.isfinite(series.theta_classical) & ~judged.unseen.series.snow
    )
    spans = list(itertools.pairwise(edges))
    middle = np.array([0.5 * (a + b) for a, b in spans])
    out = []
    for method, inputs, theta in _methods(judged):
        error = np.where(usable, theta - series.theta, np.nan)
        each = np.array([rms(error[:, a:b]) for a, b in spans])
        out.append(Curve(method, inputs, "age", middle, each))
    return tuple(out)


def outages(bundle: Bundle, judged: Judged, who: Crew, options: Options) -> tuple[Curve, ...]:
    """Compute the error on the last day of an outage of the counter and on the first day after it.

    Rain and ET0 remain available where known. Outages begin on random days with counts, half a
    year after the start of a stream; the classical methods hold their last estimate.
    """
    series = judged.unseen.series
    soil, begin = _begins(judged)
    if not len(soil):
        return ()
    span = begin[:, None] + np.arange(-WARM_D, OUTAGE_D + 1)
    label = np.where(judged.unseen.series.snow, np.nan, series.theta)[soil[:, None], span]
    out: list[Curve] = []
    lengths = np.array(LENGTHS_D)
    for method, inputs, theta in _methods(judged):
        if inputs:
            continue
        after = None
        if method == judged.inversion:  # it has no memory; the filters would restart
            after = theta[soil[:, None], begin[:, None] + lengths] - label[:, WARM_D + lengths]
        out += _pair(method, "", theta[soil, begin - 1][:, None] - label, after, lengths)
    for estimate in judged.estimates:
        own = estimate.inputs.soils[soil]
        answers = _stream(bundle, estimate, soil[own], span[own], who, options)
        after = answers.after - label[own][:, WARM_D + lengths]
        error = answers.y[..., 0] - label[own]
        out += _pair(NETWORK, estimate.inputs.label, error, after, lengths)
    return tuple(out)


def _stream(
    bundle: Bundle, estimate: Estimate, soil: Integers, span: Integers,
    who: Crew, options: Options,
) -> streams.Estimates:  # fmt: skip
    return streams.estimate_outages(
        bundle,
        estimate.inputs.features[soil[:, None], span],
        WARM_D,
        LENGTHS_D,
        who,
        runtime_name=options.runtime,
        title=f"outages, {estimate.inputs.label}",
        progress=options.progress,
    )


def _pair(
    method: str, inputs: str, error: Array, after: Array | None, lengths: Integers
) -> list[Curve]:
    """Build curves from errors during outages (n, WARM_D + OUTAGE_D + 1) and after (n, lengths)."""
    during = np.broadcast_to(error, (len(error), WARM_D + OUTAGE_D + 1))[:, WARM_D:-1]
    day = np.arange(1.0, OUTAGE_D + 1.0)
    curves = [Curve(method, inputs, "outage", day, np.array([rms(e) for e in during.T]))]
    if after is not None:
        last = np.array([rms(e) for e in after.T])
        curves.append(Curve(method, inputs, "after", lengths.astype(np.float64), last))
    return curves


def _begins(judged: Judged) -> tuple[Integers, Integers]:
    """Draw soils and first days of the outages; the day before has counts and no snow."""
    series = judged.unseen.series
    rng = np.random.default_rng(OUTAGE_SEED)
    days = np.isfinite(series.theta_classical) & ~judged.unseen.series.snow
    soil: list[int] = []
    begin: list[int] = []
    for i in rng.permutation(len(days))[: OUTAGES // 2].tolist():
        possible = np.flatnonzero(days[i, : days.shape[1] - OUTAGE_D - 1]) + 1
        possible = possible[possible >= WARM_D]
        number = min(2, possible.size)
        chosen = rng.choice(possible, number, replace=False) if possible.size else possible
        soil += [i] * chosen.size
        begin += chosen.tolist()
    return np.array(soil, dtype=np.int64), np.array(begin, dtype=np.int64)


def _methods(judged: Judged) -> list[tuple[str, str, Array]]:
    """List the methods of the curves: inversion, its best filter, the network."""
    own = judged.inversion
    out = [(b.name, "", b.theta) for b in judged.baselines if b.name.startswith(own)]
    out = [m for m in out if "5 d" not in m[0]]
    return out + [(NETWORK, e.inputs.label, e.theta) for e in judged.estimates]
