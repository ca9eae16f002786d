"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape

from epithermal_host.bundles.streams import RESTART_D
from epithermal_host.evaluation.groups import DEFINITIONS
from epithermal_host.evaluation.methods import BEST_FILTERED, COSMIC, NETWORK, network_with
from epithermal_host.rendering.html import (
    cell,
    document,
    heading,
    note,
    picture,
    row,
    section,
    table,
    text_cell,
)
from epithermal_host.reports.simulated_result import (
    IN_GROUPS,
    OVERALL,
    GroupLines,
    Line,
    Report,
    Soil,
)

WORST = 8
FEW_SOILS = 10  # whose figures are as much theirs as the group's

CAPTIONS = {
    "methods.png": "All methods, all judged days.",
    "groups.png": "RMSE in each group.",
    "coverage.png": "How much of the truth the 90 % interval holds.",
    "age.png": "Error against the age of the stream. All soils begin in the same month, so that"
    " the seasons are seen in it; the inversion, which has no memory, tells them.",
    "outage.png": "Error of an outage of the counter; rain and ET0 go on where known. Classical"
    " methods hold their last answer. Dashed: the station starts anew.",
    "scatter.png": "All judged days.",
    "soils.png": "Each soil; under the line the network is better.",
    "series.png": "The last two years.",
}


def page(report: Report, pictures: Mapping[str, bytes]) -> str:
    """The whole page.

    Parameters
    ----------
    pictures :
        PNGs by file name; they are put into the page.
    """
    name = f"{report.bundle.name} {report.bundle.version}"

    def shown(file: str) -> str:
        return picture(pictures[file], CAPTIONS[file]) if file in pictures else ""

    parts = [
        f"<h1>{escape(name)} on unseen soils</h1>",
        _head(report),
        section("In short", _verdict(report), _shortfalls(report)),
        section("All methods", _overall(report), shown("methods.png"), shown("scatter.png")),
        _reference(report),
        section("In groups", _groups(report), _definitions(), shown("groups.png")),
        _layers(report),
        section("The 90 % interval", shown("coverage.png")),
        section("Age of the stream", shown("age.png")),
        section("Outages", _outage_text(), shown("outage.png")) if report.outages else "",
        section("Soils", _soils(report), shown("soils.png"), shown("series.png")),
    ]
    return document(f"{name}: report", parts)


def _head(report: Report) -> str:
    stats = report.overall.lines[0].stats
    trained = report.provenance.get("run", {}).get("campaign", {})
    seconds = ", ".join(f"{name} {s:.1f}" for name, s in report.seconds.items())
    return (
        f'<p class="s">Bundle {escape(report.bundle.sha256[:16])}, trained on campaign seed '
        f"{trained.get('seed', '?')} ({trained.get('soils', '?')} soils). Judged on "
        f"{escape(report.run_folder.name)}, campaign seed {report.seed}: {stats.soils} soils, "
        f"{stats.days} days; the first {report.spin_up_d} days, days without counts and days with"
        f" snow ({100.0 * report.snow_share:.1f} %) are left out for every method. Runtime "
        f"{escape(report.runtime)}. Seconds: {escape(seconds)}.</p>"
    )


def _verdict(report: Report) -> str:
    items = []
    for label in report.inputs:
        line, inversion = (report.overall.line(m, label) for m in (NETWORK, COSMIC))
        assert line and inversion
        asked = sum(g.line(NETWORK, label) is not None for g in report.groups)
        own = [x for x in report.verdict if x.inputs == label]
        items.append(
            f"<b>{escape(label)}</b>: RMSE {line.stats.rmse:.4f} m³ m⁻³, "
            f"<b>{line.stats.rmse / inversion.stats.rmse:.2f}</b> of the COSMIC inversion's "
            f"{inversion.stats.rmse:.4f}. Better than inversion + best filter in "
            f"{asked - sum(x.beaten for x in own)} of {asked} groups. The 90 % interval holds "
            f"{100.0 * line.stats.coverage_90:.1f} %, and 80 to 97 % in "
            f"{asked - sum(x.outside for x in own)} of {asked} groups."
        )
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _shortfalls(report: Report) -> str:
    """The groups in which something is not as asked for."""
    if not report.verdict:
        return "<p>In every group the network is better, and the interval holds 80 to 97 %.</p>"
    head = ["l:falls short in", "soils", "days"]
    for label in report.inputs:
        head += [f"{label}: of COSMIC", "of filter", "in 90 %"]
    short = {(x.kind, x.group) for x in report.verdict}
    rows = []
    for group in (g for g in report.groups if (g.kind, g.name) in short):
        counted = group.lines[0].stats
        cells = [text_cell(_named(group)), cell(counted.soils, "{:d}"), cell(counted.days, "{:d}")]
        for label in report.inputs:
            _, of_cosmic, of_filter, _, inside = _group_cells(group, label)
            cells += [of_cosmic, of_filter, inside]
        rows.append(row(cells))
    text = (
        "Groups in which the network is not better than the inversion with the best filter (of"
        " filter: not below 1), or its interval holds less than 80 or more than 97 %. The figures"
        f" of fewer than {FEW_SOILS} soils are theirs as much as the group's."
    )
    return table(head, rows) + note(text)


def _named(group: GroupLines) -> str:
    """With the kind where the name alone does not tell."""
    if group.kind in ("counting rate", "year"):
        return f"{group.kind} {group.name}"
    return f"{group.name} season" if group.kind == "season" else group.name


def _overall(report: Report) -> str:
    head = ("l:method", "l:inputs", "T [d]", "soils", "RMSE", "of COSMIC", "ubRMSE", "bias", "r",
            "KGE", "in 90 %")  # fmt: skip
    rows = []
    for line in _without_repeats(report):
        inversion = report.overall.line(COSMIC, line.inputs)
        assert inversion
        own = line.method == NETWORK
        s = line.stats
        cover = cell(s.coverage_90, "{:.1%}", OVERALL if own else None)
        cells = [
            text_cell(line.method),
            text_cell(line.inputs),
            cell(line.t_d, "{:g}"),
            cell(s.soils, "{:d}"),
            cell(s.rmse, "{:.4f}"),
            cell(s.rmse / inversion.stats.rmse, "{:.2f}"),
            cell(s.ubrmse, "{:.4f}"),
            cell(s.bias, "{:+.4f}"),
            cell(s.r, "{:.3f}"),
            cell(s.kge, "{:.3f}"),
            cover,
        ]
        rows.append(row(cells, own))
    small = (
        '<p class="s">RMSE, ubRMSE (each soil\'s own bias taken out) and bias in m³ m⁻³; r and KGE'
        " (Gupta et al. 2009) are medians over the soils. The best T is chosen on these very days."
        " Desilets' N0 and the UTS' N_D agree with COSMIC at each soil's median: one calibration"
        " for all. The campaign's neutrons are COSMIC's own, which favours its inversion over"
        " these two.</p>"
    )
    return table(head, rows) + small


def _without_repeats(report: Report) -> Iterable[Line]:
    """Baselines once, if every set of inputs has the same soils."""
    soils = {x.inputs: x.stats.soils for x in report.overall.lines}
    first = report.inputs[0]
    for line in report.overall.lines:
        if line.method == NETWORK or line.inputs == first or soils[line.inputs] != soils[first]:
            yield line


def _groups(report: Report) -> str:
    labels = report.inputs
    head = ["l:group", "soils", "days", "COSMIC", "+ best filter"]
    for label in labels:
        head += [network_with(label), "of COSMIC", "of filter", "bias", "in 90 %"]
    rows, before = [], ""
    for group in report.groups:
        if group.kind != before:
            rows.append(heading(group.kind, len(head)))
        before = group.kind
        inversion, filtered = (group.line(m, labels[0]) for m in (COSMIC, BEST_FILTERED))
        assert inversion and filtered
        cells = [
            text_cell(group.name),
            cell(inversion.stats.soils, "{:d}"),
            cell(inversion.stats.days, "{:d}"),
            cell(inversion.stats.rmse, "{:.4f}"),
            cell(filtered.stats.rmse, "{:.4f}"),
        ]
        for label in labels:
            cells += _group_cells(group, label)
        rows.append(row(cells))
    small = (
        '<p class="s">RMSE and bias in m³ m⁻³; "of COSMIC", "of filter": the network\'s RMSE over'
        " that of the COSMIC inversion, and of the inversion with the best filter, on the same"
        " days, red where not below 1; coverage red outside 80 to 97 %.</p>"
    )
    return table(head, rows) + small


def _group_cells(group: GroupLines, label: str) -> list[str]:
    line, inversion, filtered = (group.line(m, label) for m in (NETWORK, COSMIC, BEST_FILTERED))
    if line is None or inversion is None or filtered is None:
        return ["<td></td>"] * 5
    return [
        cell(line.stats.rmse, "{:.4f}"),
        cell(line.stats.rmse / inversion.stats.rmse, "{:.2f}"),
        cell(line.stats.rmse / filtered.stats.rmse, "{:.2f}", (0.0, 0.99999)),
        cell(line.stats.bias, "{:+.4f}"),
        cell(line.stats.coverage_90, "{:.0%}", IN_GROUPS),
    ]


def _definitions() -> str:
    items = (f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in DEFINITIONS.items())
    return f'<dl class="s">{"".join(items)}</dl>'


def _outage_text() -> str:
    return (
        f'<p class="s">After {RESTART_D} days without counts a station forgets its state; the'
        " error is then that of a cold start.</p>"
    )


def _reference(report: Report) -> str:
    told = report.reference
    if told is None:
        return ""
    rows = [
        row((text_cell(str(name)), cell(value, "{:.4f}"))) for name, value in told["rmse"].items()
    ]
    text = escape(str(told["text"]))
    errors = table(("l:method", "RMSE"), rows)
    return section("A particle filter on our own column", f"<p>{text}</p>", errors)


def _layers(report: Report) -> str:
    """The layers that the bundle tells; empty for one that tells none."""
    if not report.layers:
        return ""
    head = ("l:layer", "l:inputs", "soils", "RMSE", "ubRMSE", "bias", "r", "inversion as layer",
            "0–30 cm as layer")  # fmt: skip
    rows = []
    for x in report.layers:
        cells = [
            text_cell(x.layer.removeprefix("theta_").replace("_", "–") + " cm"),
            text_cell(x.inputs),
            cell(x.stats.soils, "{:d}"),
            cell(x.stats.rmse, "{:.4f}"),
            cell(x.stats.ubrmse, "{:.4f}"),
            cell(x.stats.bias, "{:+.4f}"),
            cell(x.stats.r, "{:.3f}"),
            cell(x.rmse_inversion, "{:.4f}"),
            cell(x.rmse_mean, "{:.4f}"),
        ]
        rows.append(row(cells))
    text = (
        "m³ m⁻³, the same days as above. Beside them what one number for all depths is worth in a"
        " layer: RMSE of the COSMIC inversion, and of the network's own 0–30 cm, taken as it."
    )
    return section("Layers", table(head, rows), note(text))


def _soils(report: Report) -> str:
    last = network_with(report.inputs[-1])

    def key(soil: Soil) -> float:
        value = soil.rmse[last]
        return value if math.isfinite(value) else -1.0

    names = list(report.soils[0].rmse)
    head = ["scenario", "l:texture", "l:cover", "P/ET0", *names]
    rows = []
    for soil in sorted(report.soils, key=key, reverse=True)[:WORST]:
        cells = [
            cell(soil.scenario, "{:d}"),
            text_cell(soil.texture.replace("_", " ")),
            text_cell(soil.cover),
            cell(soil.precipitation_over_et0, "{:.2f}"),
            *(cell(soil.rmse[name], "{:.4f}") for name in names),
        ]
        rows.append(row(cells))
    return f"<p>The {len(rows)} worst soils by RMSE, {escape(last)}:</p>" + table(head, rows)
