"""What a retraining did, in words and figures: report, provenance, JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from epithermal_host import __version__
from epithermal_host.arrays import Mask
from epithermal_host.evaluation.metrics import Stats, stats
from epithermal_host.field.days import date_of
from epithermal_host.field.series import FieldSeries
from epithermal_host.rendering.text import markdown, plain
from epithermal_host.retraining.head_fit import GAIN_MAX, RISE_MAX, SiteDays, Trial
from epithermal_host.retraining.result import Retraining
from epithermal_host.retraining.site_days import site_days

INPUTS = ("counts alone", "all inputs")
DECLINED = "Declined: the released network stays."


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """Before and after on the days of one part of the time."""

    when: str
    inputs: str
    released: Stats
    retrained: Stats


def lines(done: Retraining) -> list[Line]:
    """Against the probes, on the days used and on later ones; each year's own bias is taken out,
    N drifts from year to year."""
    out, after, series = [], done.theta(), done.series
    parts = (("days fitted on", done.used), ("later days, not used", done.judged))
    for when, days in parts:
        if not days.any():
            continue
        rows = by_year(series, days)
        truth = np.broadcast_to(series.truth, rows.shape)
        for i, (theta, moved) in enumerate(zip(done.said.theta, after, strict=True)):
            both = (stats(truth, np.broadcast_to(e, rows.shape), rows) for e in (theta, moved))
            out.append(Line(when, INPUTS[i], *both))
    return out


def by_year(series: FieldSeries, days: Mask) -> Mask:
    """(Y, T) the days of each year that has some."""
    year = series.day_end_s.astype("datetime64[s]").astype("datetime64[Y]")
    return np.stack([days & (year == y) for y in np.unique(year[days])])


def verdict(done: Retraining) -> str:
    """One line."""
    if done.change is None:
        return DECLINED
    if done.decision is not None and done.decision.w is not None:
        return f"Retrained on the probes, strength {done.decision.strength:g}."
    assert done.level is not None
    return f"Level alone, from {done.level.days} sampling days: {done.level.b:+.4f} m3/m3."


def report(done: Retraining) -> str:
    """retrain.md, and the head of the bundle's card."""
    parent = done.parent
    first, last = (date_of(s) for s in _span(done))
    parts = [
        f"# {parent.name} {parent.version} at {done.site_file.name}",
        verdict(done),
        f"Parent: {parent.name} {parent.version}, `{parent.sha256}`. COSMIC's N"
        f" {done.series.cosmic_n_cph:.1f} counts/h; with another N in station.toml it is not this"
        f" network. Days that could be used: {int(done.used.sum())}, {first} to {last}.",
    ]
    if done.reasons:
        parts.append("Why the probes are not used:\n\n" + "\n".join(f"* {r}" for r in done.reasons))
    if done.decision is not None:
        parts.append(_trials(done.decision.released, done.decision.trials))
        parts.append(
            "Last third of the days (of several seasons the last), fitted on what is before: ubRMSE"
            f" {_number(done.decision.last_released)} released,"
            f" {_number(done.decision.last_retrained)} retrained."
        )
    if done.level is not None:
        said = done.level.reason or (
            f"used; on sampling days left out RMSE {done.level.rmse_left_out:.4f}, released"
            f" {done.level.rmse:.4f} m3/m3"
        )
        parts.append(f"A level from the samples: {said}.")
    parts += [_before_after(done), _one_season(done)]
    return "\n\n".join(p for p in parts if p) + "\n"


def provenance(done: Retraining) -> dict[str, Any]:
    """For bundle.toml: from what, on what, with what figures."""
    decision, remembered = done.decision, done.rehearsal
    value: dict[str, Any] = {
        "software": __version__,
        "parent": {
            "name": done.parent.name,
            "version": done.parent.version,
            "sha256": done.parent.sha256,
        },
        "site": done.site_file.name,
        "cosmic_n_cph": done.series.cosmic_n_cph,
        "data_hash": done.data_hash,
        "days": int(done.used.sum()),
        "first_day": date_of(_span(done)[0]),
        "last_day": date_of(_span(done)[1]),
        "fitted": verdict(done),
        "rehearsal": {
            "data_hash": remembered.data_hash,
            "soils": remembered.judge.soils,
            "rmse_released": remembered.judge.rmse(np.zeros(remembered.judge.h.size), 0.0),
            "rmse_retrained": remembered.judge.rmse(*done.change) if done.change else None,
        },
        "lines": [
            {
                "when": x.when,
                "inputs": x.inputs,
                "days": x.released.days,
                **{
                    f"{name}_{which}": getattr(s, name)
                    for which, s in (("released", x.released), ("retrained", x.retrained))
                    for name in ("ubrmse", "rmse", "r")
                },
            }
            for x in lines(done)
        ],
    }
    if decision is not None:
        value["trials"] = [dataclasses.asdict(t) for t in (decision.released, *decision.trials)]
    told: dict[str, Any] = _without_nothing(plain(value))
    return told


def as_json(done: Retraining) -> dict[str, Any]:
    """retrain.json."""
    return {
        "declined": done.change is None,
        "verdict": verdict(done),
        "reasons": list(done.reasons),
        "level": plain(dataclasses.asdict(done.level)) if done.level else None,
        **provenance(done),
    }


def _without_nothing(value: Any) -> Any:
    """TOML has no null."""
    if isinstance(value, dict):
        return {k: _without_nothing(v) for k, v in value.items() if v is not None}
    return [_without_nothing(v) for v in value] if isinstance(value, list | tuple) else value


def _trials(released: Trial, trials: tuple[Trial, ...]) -> str:
    rows = [
        (
            f"{t.strength:g}" if t is not released else "released",
            f"{t.ubrmse:.4f}",
            ", ".join(f"{b:.4f}" for b in t.blocks),
            f"{t.rise - 1.0:+.1%}",
        )
        for t in (released, *trials)
    ]
    head = ("strength", "ubRMSE, blocks left out", "each block", "RMSE, simulated population")
    return (
        markdown(head, rows)
        + f"\n\nAsked: {1 - GAIN_MAX:.0%} less on blocks left out, no block worse by a tenth, and"
        f" the simulated population's RMSE up by {RISE_MAX - 1:.0%} at most."
    )


def _before_after(done: Retraining) -> str:
    rows = [
        (
            x.when,
            x.inputs,
            str(x.released.days),
            *(f"{getattr(s, n):{form}}" for s in (x.released, x.retrained)
              for n, form in (("ubrmse", ".4f"), ("r", ".3f"))),
        )
        for x in lines(done)
    ]  # fmt: skip
    head = ("days", "inputs", "n", "ubRMSE released", "r", "ubRMSE retrained", "r")
    return (
        "Against the probes, each year's own bias taken out [m3/m3]:\n\n" + markdown(head, rows)
        if rows
        else ""
    )


def _one_season(done: Retraining) -> str:
    if done.decision is None or done.decision.w is None:
        return ""
    if len(_days(done).seasons()) > 1:
        return ""
    return "It has seen one season. That it carries over to the next one is not shown."


def _days(done: Retraining) -> SiteDays:
    return site_days(done.series, done.said, done.used)


def _span(done: Retraining) -> tuple[float, float]:
    """First and last end of a day that could be used [s, UTC]."""
    ends = done.series.day_end_s[done.used]
    if not ends.size:
        ends = done.series.day_end_s[done.series.day_end_s <= done.until_s]
    return (float(ends[0]), float(ends[-1])) if ends.size else (0.0, 0.0)


def _number(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else "-"
