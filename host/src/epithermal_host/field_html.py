"""The field report as one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from epithermal_host.baselines import COSMIC
from epithermal_host.html_parts import cell, document, note, picture, section, table, words

if TYPE_CHECKING:
    from epithermal_host.field_report import FieldReport, Line, Middle, Place

NETWORK = "network"
NOTHING_FITTED = (
    "Nothing was fitted on these sites. The network has seen simulated soils only; the detector's N"
    " is from the one sampling day of each site, by COSMIC for the inversion and by its own output"
    " for the network; the filter's T is the usual 5 d; the probes judge"
    " and are used for nothing else. Where a population or a model"
    " was chosen by figures of these sites, they are a check and no proof."
)


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
        f"<p><b>{escape(NOTHING_FITTED)}</b></p>",
        section("Medians over the sites", _medians(report), note(_meaning(report))),
        section("Each site", _sites(report)),
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
        words(m.method),
        words(m.inputs),
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


def _sites(report: FieldReport) -> str:
    head = ("l:method", "l:inputs", "days", "ubRMSE", "of COSMIC", "after warm-up", "r", "RMSE",
            "bias", "RMSE anchored", "within years", "in 90 %")  # fmt: skip
    rows = []
    for place in report.places:
        rows.append(
            f'<tr class="k"><td colspan="{len(head)}">{escape(place.series.name)}</td></tr>'
        )
        inversion = next((x.probes.ubrmse for x in place.lines if x.method == COSMIC), float("nan"))
        rows += [_line(x, inversion) for x in place.lines]
        if not place.lines:
            rows.append(f'<tr><td class="l" colspan="{len(head)}">no day with probes</td></tr>')
    return table(head, rows)


def _line(x: Line, inversion: float) -> str:
    p = x.probes
    cells = [
        words(x.method),
        words(x.inputs),
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
    kind = ' class="n"' if method == NETWORK else ""
    return f"<tr{kind}>{''.join(cells)}</tr>"


def _place(place: Place, content: bytes) -> str:
    soil = f"{place.texture.replace('_', ' ')}, " if place.texture else ""
    own = ", ".join(f"{x.n_cph:.0f} ({x.inputs.label})" for x in place.shown)
    caption = (
        f"{soil}N = {place.series.cosmic_n_cph:.0f} counts per hour from the samples' mean of "
        f"{place.series.sampled_theta:.3f}, by the network's own output {own}; rain known on"
        f" {place.rain_share:.0%} of the days, ET0 on {place.et0_share:.0%}. Grey: not judged (out"
        " of season, cold soil, faulty monitor)."
    )
    return section(place.series.name, picture(content, caption))
