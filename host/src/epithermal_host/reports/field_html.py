"""Format the report on real sites as one HTML page: `templates/field.html`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from epithermal_host.evaluation.methods import NETWORK, OTHERS, RETRAINED
from epithermal_host.rendering.html import render
from epithermal_host.reports.field_result import FieldReport, Line, Place

TEMPLATES = Path(__file__).parent / "templates"
STRONG = (NETWORK, OTHERS, RETRAINED)  # methods whose rows are in bold


def page(report: FieldReport, pictures: Mapping[str, bytes], verdicts: str = "") -> str:
    """Return the page as text.

    Parameters
    ----------
    pictures :
        PNGs by file name, one for each site.
    verdicts :
        Name of the picture of all sites, if there is one.
    """
    name = f"{report.bundle.name} {report.bundle.version}"
    lines = [x for place in report.places for x in place.lines]
    classical = {place.inversion for place in report.places}
    return render(
        TEMPLATES,
        "field.html",
        title=f"{name}: field",
        name=name,
        report=report,
        pictures=pictures,
        verdicts=pictures.get(verdicts),
        strong=STRONG,
        inversion=next((m.ubrmse for m in report.medians if m.method in classical), float("nan")),
        inversion_at=_inversion_at,
        median_seasons=_seasons(m.seasons for m in report.medians),
        place_seasons=_seasons(x.seasons for x in lines),
        sampled=_sampled(report),
    )


def _inversion_at(place: Place) -> float:
    """Return the inversion's ubRMSE against a site's probes; NaN if there are no scores."""
    return next((x.probes.ubrmse for x in place.lines if x.method == place.inversion), float("nan"))


def _seasons(seasons: Iterable[Mapping[str, object]]) -> list[str]:
    """List the name of every season once, in order of appearance."""
    return list(dict.fromkeys(name for names in seasons for name in names))


def _sampled(report: FieldReport) -> list[tuple[Place, list[Line]]]:
    """List the sites with a sampling day besides the calibration day, and their scores."""
    sites = [(place, [x for x in place.lines if x.sampled]) for place in report.places]
    return [(place, lines) for place, lines in sites if lines]
