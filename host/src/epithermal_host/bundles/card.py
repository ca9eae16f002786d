"""Write CARD.md of a bundle: training, accuracy and limits of the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from epithermal_host.rendering.text import markdown

TEXT = """\
# {name} {version}

Mean water content of 0-30 cm (m³ m⁻³), its standard error and the means of 0-10, 10-30 and
30-60 cm from the counts of a cosmic-ray neutron sensor: {network}, with one
step a day on features of the last 24 hours. It corrects the homogeneous {response} inversion.{soil}
{forced}
## What it was trained on

{soils} simulated soils of {days} days each, split by soil into training, validation and test;
data set `{data_hash}`.{known}

Ranges of the inputs in training. Outside of them the estimate is an extrapolation:

{ranges}

## How good it is

Scores on the test soils, which training did not use; the quantized file of this bundle, streamed
from one cold start. The first {spin_up_steps} days, days without counts and days with snow are
excluded for every method. ubRMSE is computed after removing the bias of each soil; r is the median
over the soils; coverage is the share of true values inside the 90 % interval.

{scores}

The best filter has T = {best_t_d:g} d, chosen on the same soils. RMSE of the network with all
inputs:

{conditions}

Quantiles of its RMSE over the soils: {quantiles}.

RMSE of the layers, with all inputs; the inversion has no depth resolution and uses one value for
all:

{layers}

Its standard error was multiplied after training by {sigma_scale} (N exact, and N uncertain), so
that the 90 % intervals contain 90 % of the true values of the validation soils.

## Where it fails

{notes}* All soils are simulated: an error of the simulation affects training and test alike and
  does not show here. Check the estimates at your site with soil samples.
* The calibration ({scale}, bulk density, lattice and organic water) is used as given, N with
  its standard error. An error of N shifts the estimate about as much as the inversion, and a slow
  drift of the detector or of the biomass is indistinguishable from drying or wetting.{soil_fails}
* In the first {spin_up_steps} days after a cold start the estimate is flagged WARM_UP; the table
  above shows its error. It starts at the inversion.{gap_fails}
* {snow}
* Training did not include frozen soil, ponding, a water table or irrigation that no gauge measures.

## Quantization
{quantization}"""

QUANTIZATION = """
Largest error against the float network on test soils (limit {gate_m3_m3:g} m³ m⁻³) and largest
difference between two runtimes (limit {agree_m3_m3:g} m³ m⁻³), over streams of {stream_years:.1f}
years with the state carried throughout; `{scheme}` is released ({size_bytes} bytes).

{rungs}
"""


FORCED = """
**Do not use this model at a site.** It was released with `--force`, although it is not better than
the inversion on unseen soils:

{shortfalls}
"""
SOIL = " Soil\nparameters are among its inputs; they may be unknown."
SOIL_FAILS = (
    "\n* Wrong soil parameters cause errors that the model does not detect. Omit parameters that"
    "\n  are only guessed."
)
GAP_FAILS = {  # by whether rain or ET0 is among its inputs
    True: """
* In a gap it continues with rain and ET0 where known, else it holds its value; see the row of
  gaps.""",
    False: """
* In a gap it holds its value; see the row of gaps.""",
}
SNOW = {
    True: "Under snow the counts carry no information on the soil. Snow occurs in training; days\n"
    "  with snow are not scored.",
    False: "Snow reduces the counts; training did not include snow.",
}


def card(
    table: Mapping[str, Any], titles: Sequence[str], scores: Mapping[str, Any], notes: str = ""
) -> str:
    """Return the text of CARD.md.

    Parameters
    ----------
    table :
        Content of bundle.toml.
    titles :
        Description of each network: "an LSTM of 32 units".
    scores :
        Content of evaluate.json.
    notes :
        Results of further evaluations and known failures, in Markdown.
    """
    networks = table["network"]
    inputs = {feature["name"] for feature in table["features"]}
    soil = "soil_known" in inputs
    provenance = table["provenance"]
    population = provenance["run"].get("population", {})
    response = _response(provenance["run"])
    known = " Its configuration is in bundle.toml, provenance.run." if provenance["run"] else ""
    return TEXT.format(
        name=table["name"],
        notes=f"{notes.strip()}\n\n" if notes.strip() else "",
        version=table["version"],
        network=titles[0] if len(titles) == 1 else ensemble(titles),
        response=response,
        scale="COSMIC's N" if response == "COSMIC" else f"the scale N of {response}",
        soil=SOIL if soil else "",
        forced=_forced(scores["shortfalls"]),
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


def _response(run: Mapping[str, Any]) -> str:
    """Name the response by which the stations of a run inverted their counts."""
    names = run.get("population", {}).get("response", ["cosmic"])
    if not run.get("instrument", {}).get("response_known", True) or set(names) == {"cosmic"}:
        return "COSMIC"
    return " or ".join(names)


def ensemble(titles: Sequence[str]) -> str:
    """Describe an ensemble in words."""
    return f"the mean of {len(titles)}\nnetworks ({', '.join(titles)})"


def _forced(shortfalls: Sequence[str]) -> str:
    """Write the warning of a model that is not better than the inversion; empty otherwise."""
    lines = "\n".join(f"* {shortfall}" for shortfall in shortfalls)
    return FORCED.format(shortfalls=lines) if shortfalls else ""


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
    """Tabulate the quantization schemes, one row for each scheme and runtime."""
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
    return markdown(("input", "unit", "minimum", "maximum"), rows)
