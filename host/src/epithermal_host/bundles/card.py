"""CARD.md of a bundle: what the model is, how good it is, and where it fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from epithermal_host.rendering.text import markdown

TEXT = """\
# {name} {version}

Mean water content of 0-30 cm (m³ m⁻³), its standard error and the means of 0-10, 10-30 and
30-60 cm from the counts of a cosmic-ray neutron sensor: {network} that takes one
step a day on features of the last 24 hours and corrects the homogeneous COSMIC inversion.{soil}

## What it was trained on

{soils} simulated soils of {days} days each, split by soil into training, validation and test;
data set `{data_hash}`.{known}

Ranges of the inputs in training. Outside of them the answer is a guess:

{ranges}

## How good it is

Test soils, unseen in training; the quantized file of this bundle, streamed from one cold start.
The first {spin_up_steps} days, days without counts and days with snow are left out for every
method. ubRMSE has each soil's own bias removed; r is the median over the soils; coverage is the
part of the truth inside the 90 % interval.

{scores}

The best filter has T = {best_t_d:g} d, chosen on these very soils. RMSE of the network with all
inputs:

{conditions}

Over the soils, its RMSE has these quantiles: {quantiles}.

The layers, with all inputs; the inversion knows no depth and has the same value for each:

{layers}

Its standard error was scaled after training by {sigma_scale} (N known without error, and not), so
that the 90 % interval held 90 % of the validation soils' truth.

## Where it fails

{notes}* Simulated soils only: an error that the simulation shares with its own training is not seen
  here. Judge it on your site by soil samples.
* The calibration (COSMIC's N, bulk density, lattice and organic water) is taken as given, N with
  its standard error. An error of N shifts the answer much as it shifts the inversion, and a slow
  drift of the detector or of the biomass is not told from drying.{soil_fails}
* In the first {spin_up_steps} days after a cold start the estimate is flagged WARM_UP; the table
  above shows that error. It begins as the inversion.{gap_fails}
* {snow}
* Frozen soil, ponding, a water table and irrigation that no gauge sees are outside of what it was
  shown.

## Quantization
{quantization}"""

QUANTIZATION = """
Largest error against the float network on unseen soils, gate {gate_m3_m3:g} m³ m⁻³, and largest
difference between two runtimes, gate {agree_m3_m3:g} m³ m⁻³, over streams of {stream_years:.1f}
years with one state carried through; `{scheme}` ships ({size_bytes} bytes).

{rungs}
"""


SOIL = " What is\nknown of the soil is among its inputs; it may be unknown."
SOIL_FAILS = (
    "\n* A soil that is described wrongly is believed. Where its parameters are a guess, leave them"
    " away."
)
GAP_FAILS = {  # whether rain or ET0 is among its inputs
    True: """
* In a gap it goes on with rain and ET0 if there are any, else it holds; see the row of gaps.""",
    False: """
* In a gap it holds; see the row of gaps.""",
}
SNOW = {
    True: "Under snow the counts tell nothing of the soil: it was shown snow, and no day with\n"
    "  snow is judged.",
    False: "Snow takes counts away, and it was not shown any.",
}


def card(
    table: Mapping[str, Any], titles: Sequence[str], scores: Mapping[str, Any], notes: str = ""
) -> str:
    """The card's text.

    Parameters
    ----------
    table :
        What goes into bundle.toml.
    titles :
        What each network is, "an LSTM of 32 units".
    scores :
        Content of evaluate.json.
    notes :
        What examinations showed, in Markdown.
    """
    networks = table["network"]
    inputs = {feature["name"] for feature in table["features"]}
    soil = "soil_known" in inputs
    provenance = table["provenance"]
    population = provenance["run"].get("population", {})
    known = " Its configuration is in bundle.toml, provenance.run." if provenance["run"] else ""
    return TEXT.format(
        name=table["name"],
        notes=f"{notes.strip()}\n\n" if notes.strip() else "",
        version=table["version"],
        network=titles[0] if len(titles) == 1 else ensemble(titles),
        soil=SOIL if soil else "",
        soil_fails=SOIL_FAILS if soil else "",
        gap_fails=GAP_FAILS[bool(inputs & {"rain_mm", "et0_mm"})],
        spin_up_steps=table["spin_up_steps"],
        soils=provenance["soils"],
        days=provenance["days"],
        data_hash=provenance["data_hash"],
        known=known,
        ranges=_ranges(table),
        scores=_scores(scores["scores"]),
        best_t_d=scores["best_t_d"],
        conditions=markdown(
            ("condition", "RMSE"),
            ((name, f"{value:.4f}") for name, value in scores["rmse_by_condition"].items()),
        ),
        quantiles=", ".join(f"{q} {v:.4f}" for q, v in scores["rmse_of_soils"].items()),
        layers=_layers(scores["rmse_of_layers"]),
        sigma_scale="; ".join(
            " and ".join(f"{k:.2f}" for k in network["sigma_scale"]) for network in networks
        ),
        snow=SNOW[bool(population.get("snow_on_counts"))],
        quantization="".join(_quantization(network["quantization"]) for network in networks),
    )


def ensemble(titles: Sequence[str]) -> str:
    """Describe an ensemble for people."""
    return f"the mean of {len(titles)}\nnetworks ({', '.join(titles)})"


def _quantization(report: Mapping[str, Any]) -> str:
    """Write the section on the quantization of one network."""
    return QUANTIZATION.format(
        gate_m3_m3=report["gate_m3_m3"],
        agree_m3_m3=report["agree_m3_m3"],
        stream_years=report["stream_days"] / 365.25,
        scheme=report["scheme"],
        size_bytes=report["size_bytes"],
        rungs=rungs_table(report["rungs"]),
    )


def rungs_table(rungs: Iterable[Mapping[str, Any]]) -> str:
    """The ladder of quantization, one row for each rung and runtime."""
    rows = []
    for rung in rungs:
        size = "-" if rung["size_bytes"] is None else str(rung["size_bytes"])
        verdict = "passed" if rung["passed"] else "failed"
        apart = rung["between_runtimes_m3_m3"]
        between = "-" if apart is None else f"{apart:.1e}"
        if rung["fault"] is not None:
            rows.append((rung["scheme"], size, "-", "-", "-", "-", rung["fault"]))
        for trial in rung["trials"]:
            errors = (trial["max_error_m3_m3"], trial["rmse_m3_m3"])
            cells = ["-" if e is None else f"{e:.1e}" for e in errors]
            text = trial["fault"] or verdict
            rows.append((rung["scheme"], size, trial["runtime"], *cells, between, text))
    header = ("scheme", "bytes", "runtime", "max error", "RMSE", "between runtimes", "verdict")
    return markdown(header, rows)


def _layers(rmse: Mapping[str, float]) -> str:
    names = [name for name in rmse if "inversion" not in name]
    rows = ((n, f"{rmse[n]:.4f}", f"{rmse[f'{n}, inversion']:.4f}") for n in names)
    return markdown(("layer", "network", "inversion"), rows)


def _scores(scores: Iterable[Mapping[str, Any]]) -> str:
    header = ("inputs", "method", "soils", "RMSE", "ubRMSE", "bias", "r", "coverage")
    rows = []
    for s in scores:
        r = "" if s["r"] is None else f"{s['r']:.3f}"
        errors = (f"{s['rmse']:.4f}", f"{s['ubrmse']:.4f}", f"{s['bias']:+.4f}", r)
        covered = "" if s["coverage_90"] is None else f"{100 * s['coverage_90']:.1f} %"
        rows.append((s["inputs"], s["method"], str(s["soils"]), *errors, covered))
    return markdown(header, rows)


def _ranges(table: Mapping[str, Any]) -> str:
    rows = (
        (f["name"], f["unit"], f"{f['training_minimum']:.4g}", f"{f['training_maximum']:.4g}")
        for f in table["features"]
    )
    return markdown(("input", "unit", "least", "most"), rows)
