"""Measure how cost grows with years, nodes, soils, stations and records. `make bench-growth`.

A curve each: processor time of the same work in several sizes, in turns, the least of three rounds,
and the exponent of growth (1: in proportion). `--figure FILE` draws the curves. The last line is
`key=value`. Tests count operations instead: tests/host/simulation/test_growth.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_campaign import config_of
from bench_station import RELEASED, station, write_records

from epithermal_edge.cli import replay
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.inference import engine as engines
from epithermal_edge.rollout.loading import load_engine
from epithermal_host.config.population import Population
from epithermal_host.config.run_toml import CampaignConfig
from epithermal_host.rendering import plots
from epithermal_host.simulation import campaign
from epithermal_host.simulation.scenario import Scenario, sample
from epithermal_host.simulation.simulate import column, forcing, simulate
from epithermal_host.soil.richards import solve
from epithermal_host.training import dataset
from epithermal_host.weather.generator import generate

ROUNDS = 3
FIRST_DAY = 11323
Work = Callable[[int], object]


def years(places: list[Scenario], size: int) -> object:
    """Simulate some scenarios over this many years."""
    return [simulate(place, CampaignConfig(seed=1, soils=1, years=size)) for place in places]


def nodes(places: list[Scenario], size: int) -> object:
    """Solve a year of some scenarios on this many nodes."""
    finer = [dataclasses.replace(place, nodes=size, top_dz_cm=0.25) for place in places]
    weather = [generate(one.climate, one.rng("weather"), FIRST_DAY, 365) for one in finer]
    return [solve(column(one), forcing(one, air)) for one, air in zip(finer, weather, strict=True)]


def soils(folder: Path, size: int) -> object:
    """Simulate a campaign of this many soils in one process."""
    run = Path(tempfile.mkdtemp(dir=folder))
    return campaign.run(config_of(run, size, 1), run / "run", workers=1, progress=False)


def stations(places: list[Scenario], size: int) -> object:
    """Pass 20 days of hours of this many stations through the station's pipeline."""
    hours = 4 * dataset.BLOCK_H
    end_s = 86400.0 * FIRST_DAY + 3600.0 * np.arange(1, hours + 1)
    known = {"counts": 1500.0, "pressure_hpa": 1000.0, "duration_s": 3600.0, "rain_mm": 0.1}
    columns = {name: np.full((hours, size), value, np.float32) for name, value in known.items()}
    site = dataset.stack_sites([places[i % len(places)].site for i in range(size)])
    return dataset.run_pipeline(site, end_s, columns)


def records(folder: Path, size: int) -> object:
    """Replay this many hourly records with the released model."""
    config = read_config(station(str(folder), RELEASED))
    engine = load_engine(config)
    read = replay.read(config, [folder / f"records-{size}.csv"], "records").records
    return replay.write(engines.play(engine, read), io.StringIO())


def measure(work: Work, sizes: tuple[int, ...]) -> list[float]:
    """Return the processor time of each size [s], the least of some rounds in turns."""
    least = [float("inf")] * len(sizes)
    work(sizes[0])  # compiles or loads the kernels
    for _ in range(ROUNDS):
        for i, size in enumerate(sizes):
            begin = time.process_time()
            work(size)
            least[i] = min(least[i], time.process_time() - begin)
    return least


def exponent(sizes: tuple[int, ...], seconds: list[float]) -> float:
    """Return the slope between the two largest sizes, in logarithms."""
    return float(np.log(seconds[-1] / seconds[-2]) / np.log(sizes[-1] / sizes[-2]))


def draw(path: Path, curves: dict[str, tuple[tuple[int, ...], list[float]]]) -> None:
    """Draw the cost of each curve relative to its smallest size, with the line of proportion."""
    figure = plots.new_figure(6.4, 4.2)
    axes = figure.subplots()
    for name, (sizes, seconds) in curves.items():
        axes.plot(np.array(sizes) / sizes[0], np.array(seconds) / seconds[0], "o-", label=name)
    ends = np.array([1.0, max(sizes[-1] / sizes[0] for sizes, _ in curves.values())])
    axes.plot(ends, ends, ":", color="grey", label="in proportion")
    axes.set(xscale="log", yscale="log", xlabel="size relative to the smallest",
             ylabel="processor time relative to it")  # fmt: skip
    axes.legend()
    path.write_bytes(plots.png(figure))


def main() -> None:
    """Print the curves and the line of exponents."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--figure", type=Path)
    figure = arguments.parse_args().figure
    places = [sample(Population(), 1, index) for index in range(6)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lengths = (2190, 8760, 35_040)
        for hours in lengths:
            write_records(name, hours)
        works: dict[str, tuple[tuple[int, ...], Work]] = {
            "years": ((1, 2, 4, 8), lambda size: years(places, size)),
            "nodes": ((41, 81, 161, 321), lambda size: nodes(places, size)),
            "soils": ((16, 64, 256), lambda size: soils(folder, size)),
            "stations": ((1, 16, 64, 256), lambda size: stations(places, size)),
            "records": (lengths, lambda size: records(folder, size)),
        }
        curves = {}
        for label, (sizes, work) in works.items():
            seconds = measure(work, sizes)
            curves[label] = sizes, seconds
            row = "  ".join(f"{n}: {s:.3f} s" for n, s in zip(sizes, seconds, strict=True))
            print(f"{label:<9} {row}", flush=True)
    if figure:
        draw(figure, curves)
    print(" ".join(f"exponent_{name}={exponent(*curve):.2f}" for name, curve in curves.items()))


if __name__ == "__main__":
    main()
