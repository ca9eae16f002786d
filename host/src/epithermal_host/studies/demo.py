"""Run the whole chain on one machine: soils, training, bundle, station, broker, dashboard, picture.

The station is the real daemon in its own process, fed byte by byte through a pseudo-terminal; the
evaluation uses the messages that a subscriber received from the broker.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from tqdm import tqdm

from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_edge.records import RawRecord
from epithermal_edge.site import Site
from epithermal_host.arrays import Array
from epithermal_host.bundles import release
from epithermal_host.compute.files import write_atomic
from epithermal_host.config.run_toml import RunConfig, campaign_key, read_run
from epithermal_host.evaluation import evaluate
from epithermal_host.evaluation.metrics import rms
from epithermal_host.rendering.plots import (
    BLUE,
    GREY,
    UNIT,
    VERMILION,
    band_90,
    date_axis,
    legend_above,
    new_figure,
    plot_style,
    png,
)
from epithermal_host.simulation import campaign
from epithermal_host.studies import demo_rig
from epithermal_host.training import dataset, quantize, train
from epithermal_host.training.series import TEST, read_series

Write = Callable[[str], None]

STATION = "demo-01"
TOPIC = f"crns/v1/{STATION}/obs/theta"
DAYS = 365  # days of records sent to the station
SILENCE_S = 60.0  # longest time without a message; then the demo aborts
SHOWN = 12  # number of messages printed
PICTURE = "demo.png"
MARGIN = 0.02  # of the picture's axis beyond what it shows [m3 m-3]


@dataclass(frozen=True, slots=True)
class Received:
    """Messages received by the dashboard as columns; one row per record."""

    window_end_s: Array
    theta: Array
    theta_sigma: Array
    theta_classical: Array


def run(out: Path, write: Write) -> None:
    """Run the demo.

    Parameters
    ----------
    out :
        Folder for the run, the bundle, the station's files and the picture. Simulated soils and
        training of an interrupted demo are reused.
    write :
        Called with each line of text for the user.

    Raises
    ------
    EpithermalError
        A step failed, or messages of the station are missing.
    """
    began = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    with resources.as_file(resources.files("epithermal_host.studies") / "demo.toml") as path:
        config = read_run(path)
    folder = out / "run"
    if not _can_resume(folder, config):
        shutil.rmtree(folder, ignore_errors=True)
    write(f"1/5 simulating {config.campaign.soils} soils x {config.campaign.years} years")
    campaign.run(config, folder)
    dataset.run(folder)
    write("2/5 training and quantizing the network")
    train.run(folder, config.train)
    quantize.run(folder, config.quantize)
    write("3/5 evaluating it on soils that are not in the training set")
    evaluation = evaluate.run(folder)
    write(evaluate.table(evaluation))
    shutil.rmtree(out / "models", ignore_errors=True)
    bundle = release.run(
        folder, out / "models", name=config.release.name, version=config.release.version
    ).path
    write(f"    released {bundle}")
    write(f"4/5 sending {DAYS} days of a detector on an unseen soil to the station, hour by hour")
    index, site, records, truth_s, truth = _unseen(config, folder)
    shutil.rmtree(out / "station", ignore_errors=True)
    received = _play(out / "station", site, bundle, records, write)
    write("5/5 comparing what the dashboard received with the truth")
    rain_mm = np.array([record.rain_mm for record in records]).reshape(DAYS, 24).sum(axis=1)
    write(_picture(out / PICTURE, index, received, rain_mm, truth_s, truth))
    write(f"done in {time.monotonic() - began:.0f} s; picture: {out / PICTURE}")


def _can_resume(folder: Path, config: RunConfig) -> bool:
    """Check whether the folder holds an interrupted demo with the same configuration."""
    try:
        return campaign_key(read_run(folder)) == campaign_key(config)
    except ConfigError:
        return False


def _unseen(config: RunConfig, folder: Path) -> tuple[int, Site, list[RawRecord], Array, Array]:
    """Choose a test soil; return its index, site, last year's records and daily true values."""
    series = read_series(folder).part(TEST)
    spread = np.nanstd(series.theta[:, -DAYS:], axis=1)
    index = int(series.scenario[int(np.argsort(spread)[len(spread) // 2])])
    observation, labels = dataset.observe_scenario(config, folder, index)
    records = observation.records()[-24 * DAYS :]
    ends = observation.end_s[23::24][-DAYS:]
    return index, observation.site, records, ends, labels[0, -DAYS:]


def _play(
    folder: Path, site: Site, bundle: Path, records: list[RawRecord], write: Write
) -> Received:
    """Send a detector's bytes to the real station and collect its messages from the broker."""
    folder.mkdir(parents=True, exist_ok=True)
    with demo_rig.broker() as port, demo_rig.terminal() as (master, line):
        station_toml = _station_toml(folder, site, bundle, line, port)
        with demo_rig.dashboard(port, TOPIC) as messages, demo_rig.station(station_toml) as daemon:
            feeder = threading.Thread(target=demo_rig.feed, args=(master, records), daemon=True)
            feeder.start()
            return _receive(messages, len(records), daemon, write)


def _receive(
    messages: list[dict[str, Any]], expected: int, daemon: subprocess.Popen[bytes], write: Write
) -> Received:
    """Wait until there is a message for every record."""
    count, since = 0, time.monotonic()
    with tqdm(total=expected, desc="messages", unit="msg") as bar:
        while count < expected:
            time.sleep(0.2)
            if len(messages) > count:
                bar.update(len(messages) - count)
                count, since = len(messages), time.monotonic()
            if daemon.poll() is not None:
                raise EpithermalError(f"the station stopped with exit status {daemon.returncode}")
            if time.monotonic() - since > SILENCE_S:
                raise EpithermalError(
                    f"no message for {SILENCE_S:.0f} s; received {count} of {expected}"
                )
    for message in messages[expected // SHOWN - 1 :: expected // SHOWN]:
        write(f"    {TOPIC} {json.dumps(_brief(message))}")
    ends = {message["end"] for message in messages}
    if len(ends) != expected or len({message["id"] for message in messages}) != expected:
        raise EpithermalError(f"{expected} records gave {len(ends)} different messages")
    columns = {
        "window_end_s": [_seconds(message["window_end"]) for message in messages],
        "theta": [message["theta"]["value"] for message in messages],
        "theta_sigma": [message["theta"]["sigma"] for message in messages],
        "theta_classical": [message["theta_classical"]["value"] for message in messages],
    }
    return Received(**{name: np.array(column, dtype=float) for name, column in columns.items()})


def _brief(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "end": message["end"],
        "theta": message["theta"]["value"],
        "p05": message["theta"]["p05"],
        "p95": message["theta"]["p95"],
        "classical": message["theta_classical"]["value"],
        "flags": message["flags"],
    }


def _seconds(text: str | None) -> float:
    return np.nan if text is None else float(np.datetime64(text.rstrip("Z"), "s").astype(int))


def _picture(
    path: Path, index: int, got: Received, rain_mm: Array, truth_s: Array, truth: Array
) -> str:
    """Draw rain, truth, inversion and network over time; return the errors as text.

    The errors are those of windows that end at midnight, like the truth, after the first 60 days.
    """
    midnight = np.isin(got.window_end_s, truth_s[60:]) & np.isfinite(got.theta_classical)
    _, first = np.unique(got.window_end_s[midnight], return_index=True)
    at = {name: getattr(got, name)[midnight][first] for name in ("theta", "theta_classical")}
    ends = got.window_end_s[midnight][first]
    expected = truth[np.searchsorted(truth_s, ends)]
    error = {name: rms(v - expected) for name, v in at.items()}
    title = (
        f"Unseen soil {index}: RMSE of the inversion {error['theta_classical']:.4f}, "
        f"of the LSTM {error['theta']:.4f} {UNIT}"
    )
    write_atomic(path, _draw(title, got, rain_mm, truth_s, truth))
    return (
        f"    RMSE over {len(ends)} days: inversion {error['theta_classical']:.4f}, "
        f"LSTM {error['theta']:.4f} m3/m3"
    )


def _draw(title: str, got: Received, rain_mm: Array, truth_s: Array, truth: Array) -> bytes:
    """Draw the picture as PNG bytes; the first estimates, with their wide errors, are cut off."""
    when, days = ((time_s * 1e6).astype("datetime64[us]") for time_s in (got.window_end_s, truth_s))
    with plot_style():
        figure = new_figure(11.0, 5.2)
        top, axes = figure.subplots(2, 1, sharex=True, height_ratios=(1.0, 4.0))
        top.bar(days, rain_mm, width=1.0, color=GREY)
        top.set_ylabel("rain [mm d⁻¹]" if np.isfinite(rain_mm).any() else "no gauge")
        top.set_title(title)
        axes.plot(when, got.theta_classical, c=VERMILION, lw=0.7, label="classical inversion")
        band_90(axes, when, got.theta, got.theta_sigma, BLUE)
        axes.plot(when, got.theta, c=BLUE, lw=1.4, label="LSTM, as received over MQTT")
        axes.plot(days, truth, c="k", lw=1.0, label="truth")
        drawn = np.concatenate([truth, got.theta_classical[np.isfinite(got.theta_classical)]])
        axes.set_ylim(max(drawn.min() - MARGIN, 0.0), drawn.max() + MARGIN)
        axes.set_ylabel(f"0–30 cm [{UNIT}]")
        date_axis(axes)
        legend_above(figure, axes, 4)
        return png(figure)


def _cover(site: Site) -> dict[str, Any]:
    """Build the table [site.cover]; empty if the vegetation is not described."""
    if not site.cover_known:
        return {}
    days = np.arange("2024-01-01", "2025-01-01", dtype="datetime64[D]")
    shares = np.asarray(site.canopy_cover).tolist()
    points = {str(day)[5:]: share for day, share in zip(days, shares, strict=True)}
    values = {"root_depth_cm": site.root_depth_cm, "evaporation_share": site.evaporation_share}
    return {"cover": {"canopy_cover": points, **values}}


def _station_toml(folder: Path, site: Site, bundle: Path, line: str, port: int) -> Path:
    """Write the station's configuration file."""
    incoming = {"form": site.incoming_form, "ref": site.incoming_ref, "scale": site.incoming_scale}
    text = tomli_w.dumps(
        {
            "station": {"id": STATION, "state_dir": "."},
            "site": {
                "name": "demo",
                "latitude_deg": site.latitude_deg,
                "altitude_m": 0.0,
                "bulk_density_g_cm3": site.bulk_density_g_cm3,
                "lattice_water_g_g": site.lattice_water_g_g,
                "organic_water_g_g": site.organic_water_g_g,
                "cosmic_n_cph": site.cosmic_n_cph,
                "beta_per_hpa": site.beta_per_hpa,
                "pressure_ref_hpa": site.pressure_ref_hpa,
                "humidity_ref_g_m3": site.humidity_ref_g_m3,
                "incoming": incoming,
                **_cover(site),
            },
            "source": {
                "url": line,
                "dialect": "records",
                "stamps": "unchecked",  # a year is sent within minutes
            },
            "model": {"bundle": str(bundle.resolve())},
            "mqtt": {
                "host": "127.0.0.1",
                "port": port,
                "version": "3.1.1",
                "backlog_per_s": 0.0,
            },
        }
    )
    path = folder / "station.toml"
    path.write_text(text, encoding="utf-8")
    return path
