"""Format the result of a retraining as Markdown, provenance and JSON."""

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
from epithermal_host.retraining.site_days import select_days

INPUTS = ("counts alone", "all inputs")
DECLINED = "Declined: the released network stays in use."


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """Released and retrained network with one set of inputs on the days of one period."""

    when: str
    inputs: str
    released: Stats
    retrained: Stats


def compare(done: Retraining) -> list[Line]:
    """Compare both networks with the probes, on the days used and on later days.

    Each year's bias is removed, because N drifts from year to year.
    """
    out, after, series = [], done.theta(), done.series
    parts = (("days fitted on", done.used), ("later days, not used", done.evaluated))
    for when, days in parts:
        if not days.any():
            continue
        rows = split_years(series, days)
        truth = np.broadcast_to(series.truth, rows.shape)
        for i, pair in enumerate(zip(done.released.theta, after, strict=True)):
            both = (stats(truth, np.broadcast_to(e, rows.shape), rows) for e in pair)
            out.append(Line(when, INPUTS[i], *both))
    return out


def split_years(series: FieldSeries, days: Mask) -> Mask:
    """Split days (T,) by calendar year: (Y, T), a row for each year with at least one."""
    year = series.day_end_s.astype("datetime64[s]").astype("datetime64[Y]")
    return np.stack([days & (year == y) for y in np.unique(year[days])])


def verdict(done: Retraining) -> str:
    """Return the decision in one sentence."""
    if done.change is None:
        return DECLINED
    if done.decision is not None and done.decision.w is not None:
        return f"Retrained on the probes, strength {done.decision.strength:g}."
    assert done.level is not None
    return f"Level only, from {done.level.days} sampling days: {done.level.b:+.4f} m3/m3."


def report(done: Retraining) -> str:
    """Format retrain.md, which is also the first part of the bundle's card."""
    parent = done.parent
    first, last = (date_of(s) for s in _span(done))
    parts = [
        f"# {parent.name} {parent.version} at {done.site_file.name}",
        verdict(done),
        f"Parent: {parent.name} {parent.version}, `{parent.sha256}`. COSMIC's N"
        f" {done.series.cosmic_n_cph:.1f} counts/h: the network is valid only with this N in"
        f" station.toml. Days available for fitting: {int(done.used.sum())}, {first} to {last}.",
    ]
    if done.reasons:
        parts.append("Why the probes are not used:\n\n" + "\n".join(f"* {r}" for r in done.reasons))
    if done.decision is not None:
        parts.append(_trials(done.decision.released, done.decision.trials))
        parts.append(
            "Last third of the days (with several seasons, the last one), predicted from the fit to"
            " the days before: ubRMSE"
            f" {_number(done.decision.last_released)} released,"
            f" {_number(done.decision.last_retrained)} retrained."
        )
    if done.level is not None:
        result = done.level.reason and f"not used: {done.level.reason}"
        result = result or (
            f"used; RMSE on sampling days left out {done.level.rmse_left_out:.4f} m3/m3, released"
            f" {done.level.rmse:.4f}"
        )
        parts.append(f"Correction of the level from the samples: {result}.")
    parts += [_before_after(done), _one_season(done)]
    return "\n\n".join(p for p in parts if p) + "\n"


def provenance(done: Retraining) -> dict[str, Any]:
    """Return the table [provenance.retrained] of bundle.toml."""
    decision, rehearsal = done.decision, done.rehearsal
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
            "data_hash": rehearsal.data_hash,
            "soils": rehearsal.judge.soils,
            "rmse_released": rehearsal.judge.rmse(np.zeros(rehearsal.judge.h.size), 0.0),
            "rmse_retrained": rehearsal.judge.rmse(*done.change) if done.change else None,
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
            for x in compare(done)
        ],
    }
    if decision is not None:
        value["trials"] = [dataclasses.asdict(t) for t in (decision.released, *decision.trials)]
    table: dict[str, Any] = _drop_none(plain(value))
    return table


def as_json(done: Retraining) -> dict[str, Any]:
    """Return the content of retrain.json."""
    return {
        "declined": done.change is None,
        "verdict": verdict(done),
        "reasons": list(done.reasons),
        "level": plain(dataclasses.asdict(done.level)) if done.level else None,
        **provenance(done),
    }


def _drop_none(value: Any) -> Any:
    """Drop keys without a value: TOML has no null."""
    if isinstance(value, dict):
        return {k: _drop_none(v) for k, v in value.items() if v is not None}
    return [_drop_none(v) for v in value] if isinstance(value, list | tuple) else value


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
        + f"\n\nRequired: {1 - GAIN_MAX:.0%} less ubRMSE on blocks left out, no block worse by more"
        f" than a tenth, and at most {RISE_MAX - 1:.0%} more RMSE over the simulated population."
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
        for x in compare(done)
    ]  # fmt: skip
    head = ("days", "inputs", "n", "ubRMSE released", "r", "ubRMSE retrained", "r")
    return (
        "Against the probes, after removing each year's own bias [m3/m3]:\n\n"
        + markdown(head, rows)
        if rows
        else ""
    )


def _one_season(done: Retraining) -> str:
    if done.decision is None or done.decision.w is None:
        return ""
    if len(_days(done).seasons()) > 1:
        return ""
    return "Fitted on one season: whether it holds in the next one has not been tested."


def _days(done: Retraining) -> SiteDays:
    return select_days(done.series, done.released, done.used)


def _span(done: Retraining) -> tuple[float, float]:
    """Return the end of the first and last day available for fitting [s, UTC]."""
    ends = done.series.day_end_s[done.used]
    if not ends.size:
        ends = done.series.day_end_s[done.series.day_end_s <= done.until_s]
    return (float(ends[0]), float(ends[-1])) if ends.size else (0.0, 0.0)


def _number(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else "-"
