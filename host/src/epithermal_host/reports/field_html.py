"""The field report as one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from epithermal_host.evaluation.methods import COSMIC, NETWORK, OTHERS, RETRAINED
from epithermal_host.rendering.html import (
    cell,
    document,
    heading,
    note,
    picture,
    remark,
    row,
    section,
    table,
    text_cell,
)
from epithermal_host.reports.field_result import FieldReport, Line, Middle, Place

NOTHING_FITTED = (
    "Nothing was fitted on these sites. The network has seen simulated soils only; the detector's N"
    " is from the one sampling day of each site, by COSMIC for the inversion and by its own output"
    " for the network; the filter's T is the usual 5 d; the probes judge"
    " and are used for nothing else. Where a population or a model"
    " was chosen by figures of these sites, they are a check and no proof."
)
FITTED = (
    "What was fitted on what: the released network on simulated soils only; the detector's N on"
    " the one sampling day of each site; the filter's T is the usual 5 d. 'Fitted on the other"
    " sites': the head on the probes of all other sites, never on those of the site that is judged;"
    " no choice is made by figures. 'Retrained': the head on the site's own probes up to a day,"
    " judged on later days only; every choice, also to decline, is made on the days before. What"
    " was chosen by figures of these sites before is a check and no proof."
)
RETRAINED_METHODS = (OTHERS, RETRAINED)


def page(report: FieldReport, pictures: Mapping[str, bytes]) -> str:
    """The whole page.

    Parameters
    ----------
    pictures :
        PNGs by file name, one a site.
    """
    name = f"{report.bundle.name} {report.bundle.version}"
    head = (
        f"Bundle {report.bundle.sha256[:16]}, runtime {report.runtime}, {len(report.places)} sites:"
        " records of real detectors through the station's own pipeline, streamed from a cold start;"
        " the state begins anew where a station's would."
    )
    parts = [
        f"<h1>{escape(name)} in the field</h1>",
        note(head),
        f"<p><b>{escape(FITTED if report.campaign else NOTHING_FITTED)}</b></p>",
        section("Medians over the sites", _medians(report), note(_meaning(report))),
        section("Medians by season", _seasons(report)),
        section("Retrained on the site's own first years", _own(report)) if report.own else "",
        section("Each site", _sites(report)),
        section("Each site by season", _site_seasons(report)),
        section("Against the samples", _samples(report)),
        *(_place(place, pictures[f"{place.series.name}.png"]) for place in report.places),
    ]
    return document(f"{name}: field", parts)


def _meaning(report: FieldReport) -> str:
    return (
        "Daily means, in m³ m⁻³, every method on the same days: in season, soil warm, monitor"
        " sound, with counts and probes. ubRMSE: bias taken out. Anchored: the probes"
        " shifted so that they agree with the samples on the sampling day; one profile of probes is"
        " off a field's mean, so that RMSE and bias against the bare probes are theirs as much as"
        " the method's. Within years: ubRMSE with each calendar year's own bias taken out. In 90 %:"
        " part of the anchored probes inside the interval. After warm-up:"
        f" ubRMSE without the first {report.bundle.spin_up_steps} days of a state, which a station"
        " flags. Of COSMIC: ubRMSE over that of the inversion."
    )


def _medians(report: FieldReport) -> str:
    head = ("l:method", "l:inputs", "sites", "ubRMSE", "of COSMIC", "after warm-up", "r", "RMSE",
            "bias", "RMSE anchored", "within years")  # fmt: skip
    inversion = next((m.ubrmse for m in report.medians if m.method == COSMIC), float("nan"))
    return table(head, [_row(m, inversion) for m in report.medians])


def _row(m: Middle, inversion: float) -> str:
    cells = [
        text_cell(m.method),
        text_cell(m.inputs),
        cell(m.sites, "{:d}"),
        cell(m.ubrmse, "{:.4f}"),
        cell(m.ubrmse / inversion, "{:.2f}"),
        cell(m.ubrmse_settled, "{:.4f}"),
        cell(m.r, "{:.3f}"),
        cell(m.rmse, "{:.4f}"),
        cell(m.bias, "{:+.4f}"),
        cell(m.rmse_anchored, "{:.4f}"),
        cell(m.ubrmse_in_years, "{:.4f}"),
    ]
    return _tr(m.method, cells)


def _seasons(report: FieldReport) -> str:
    """ubRMSE and r, medians over the sites that have the season."""
    names = list(dict.fromkeys(name for m in report.medians for name in m.seasons))
    head = ["l:method", "l:inputs"]
    for name in names:
        head += [f"{name}: sites", "ubRMSE", "r"]
    rows = []
    for m in report.medians:
        cells = [text_cell(m.method), text_cell(m.inputs)]
        for name in names:
            n, ubrmse, r = m.seasons.get(name, (0, float("nan"), float("nan")))
            cells += [cell(n, "{:d}"), cell(ubrmse, "{:.4f}"), cell(r, "{:.3f}")]
        rows.append(_tr(m.method, cells))
    return table(head, rows)


def _site_seasons(report: FieldReport) -> str:
    """ubRMSE, r and bias of each season at each site, the probes as truth."""
    found = [x for place in report.places for x in place.lines]
    names = list(dict.fromkeys(name for x in found for name in x.seasons))
    head = ["l:method", "l:inputs"]
    for name in names:
        head += [f"{name}: days", "ubRMSE", "r", "bias"]
    rows = []
    for place in report.places:
        rows.append(heading(place.series.name, len(head)))
        for x in place.lines:
            cells = [text_cell(x.method), text_cell(x.inputs)]
            for name in names:
                s = x.seasons.get(name)
                cells += [
                    cell(s.days if s else None, "{:d}"),
                    cell(s.ubrmse if s else None, "{:.4f}"),
                    cell(s.r if s else None, "{:.3f}"),
                    cell(s.bias if s else None, "{:+.4f}"),
                ]
            rows.append(_tr(x.method, cells))
    return table(head, rows)


def _samples(report: FieldReport) -> str:
    """Where there are sampling days beside the one that calibrates."""
    head = ("l:method", "l:inputs", "sampling days", "RMSE", "bias")
    rows = []
    for place in report.places:
        lines = [(x, x.sampled) for x in place.lines if x.sampled]
        rows += [heading(place.series.name, len(head))] if lines else []
        for x, s in lines:
            cells = [text_cell(x.method), text_cell(x.inputs), cell(s.days, "{:d}")]
            cells += [cell(s.rmse, "{:.4f}"), cell(s.bias, "{:+.4f}")]
            rows.append(_tr(x.method, cells))
    if not rows:
        return note("No site has a sampling day beside the one that calibrates.")
    return table(head, rows) + note(
        "Mean of 0-30 cm by the samples of each day, without the day that calibrates."
    )


def _own(report: FieldReport) -> str:
    head = ("l:method", "l:inputs", "later days", "ubRMSE", "r", "RMSE", "bias")
    rows = []
    for x in report.own:
        title = f"{x.site}, given its {x.given} (to {x.last_day}), judged on {x.later}: {x.verdict}"
        rows.append(heading(title, len(head)))
        if x.reasons:
            rows.append(remark("; ".join(x.reasons), len(head)))
        for line in x.lines:
            s = line.stats
            cells = [text_cell(line.method), text_cell(line.inputs), cell(s.days, "{:d}")]
            cells += [cell(s.ubrmse, "{:.4f}"), cell(s.r, "{:.3f}"), cell(s.rmse, "{:.4f}")]
            rows.append(_tr(line.method, [*cells, cell(s.bias, "{:+.4f}")]))
    return table(head, rows) + note(
        f"Not to forget were the soils of {report.campaign}. ubRMSE: each year's own bias is taken"
        " out; r: median over the years. Where it was declined, retrained is the released network."
    )


def _sites(report: FieldReport) -> str:
    head = ("l:method", "l:inputs", "days", "ubRMSE", "of COSMIC", "after warm-up", "r", "RMSE",
            "bias", "RMSE anchored", "within years", "in 90 %")  # fmt: skip
    rows = []
    for place in report.places:
        rows.append(heading(place.series.name, len(head)))
        inversion = next((x.probes.ubrmse for x in place.lines if x.method == COSMIC), float("nan"))
        rows += [_line(x, inversion) for x in place.lines]
        if not place.lines:
            rows.append(remark("no day with probes", len(head)))
    return table(head, rows)


def _line(x: Line, inversion: float) -> str:
    p = x.probes
    cells = [
        text_cell(x.method),
        text_cell(x.inputs),
        cell(p.days, "{:d}"),
        cell(p.ubrmse, "{:.4f}"),
        cell(p.ubrmse / inversion, "{:.2f}"),
        cell(x.settled.ubrmse if x.settled else None, "{:.4f}"),
        cell(p.r, "{:.3f}"),
        cell(p.rmse, "{:.4f}"),
        cell(p.bias, "{:+.4f}"),
        cell(x.anchored.rmse if x.anchored else None, "{:.4f}"),
        cell(x.ubrmse_in_years, "{:.4f}"),
        cell(x.anchored.coverage_90 if x.anchored else None, "{:.0%}"),
    ]
    return _tr(x.method, cells)


def _tr(method: str, cells: list[str]) -> str:
    return row(cells, method in (NETWORK, *RETRAINED_METHODS))


def _place(place: Place, content: bytes) -> str:
    soil = f"{place.texture.replace('_', ' ')}, " if place.texture else ""
    own = ", ".join(f"{x.n_cph:.0f} ({x.inputs.label})" for x in place.shown)
    caption = (
        f"{soil}N = {place.series.cosmic_n_cph:.0f} counts per hour from the samples' mean of "
        f"{place.series.sampled_theta:.3f}, by the network's own output {own}; rain known on"
        f" {place.rain_share:.0%} of the days, ET0 on {place.et0_share:.0%}. Grey: not judged (out"
        " of season, cold soil, faulty monitor). Below: corrected counts of each day."
    )
    return section(place.series.name, picture(content, caption))
