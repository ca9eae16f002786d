"""Change the tables of three real sites in thousands of ways; nothing wrong may pass silently.

    python -m tests.field.fuzz_tables --mutations 2000 --seed 1

Each mutation is refused with file and remedy, or gives the same N within three standard errors
(and the same rain, probes and evaluated days), or is noted. It is a fault if it is refused without
file or remedy, passes silently, or ends in a traceback. `fuzz_mutations`
lists what is left out because no program can notice it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import logging
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.field.fuzz_mutations import KINDS, mutate
from tests.field.fuzz_sites import NAMES, Case, load

from epithermal_edge.errors import ConfigError, SourceError
from epithermal_host.field.calibrate import calibrate
from epithermal_host.field.samples import read_campaigns
from epithermal_host.field.series import judged_days, probe_mean, raw_records
from epithermal_host.field.site_toml import read_site

OUTCOMES = ("refused", "same N", "noted", "no remedy", "silent", "traceback")
FAULTS = ("no remedy", "silent", "traceback")
SIGMAS = 3.0
AGREE = 0.2  # relative change of rain and probes, change of the share of days, that is the same
REMEDY = (";", "?", "set ", "name ", "correct", "increase", "add ", "give ")


@dataclass(frozen=True)
class Figures:
    """What the tables of a site give."""

    n_cph: float
    sigma_cph: float
    probes: float  # mean of the probes [m3 m-3]; NaN: none
    days: float  # share of the days that are evaluated
    rain_mm: float  # of all records; NaN: none
    notes: frozenset[str]


@dataclass(frozen=True)
class Result:
    """Outcome of one mutation."""

    site: str
    kind: str
    change: str
    outcome: str
    text: str


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextlib.contextmanager
def warnings_logged() -> Iterator[list[str]]:
    """Collect what is logged as a warning."""
    collector, root = _Collector(), logging.getLogger()
    root.addHandler(collector)
    try:
        yield collector.texts
    finally:
        root.removeHandler(collector)


def figures(site_toml: Path) -> Figures:
    """Calibrate a site and evaluate its other tables, as the commands do."""
    with warnings_logged() as logged:
        site_file = read_site(site_toml)
        campaigns = read_campaigns(site_file)
        read = raw_records(site_file)
        result = calibrate(site_file, campaigns, read)
        probes = probe_mean(site_file, result.day_end_s)
        days = judged_days(site_file, result.day_end_s, read.faulty_s)
    rain = np.array([r.rain_mm for r in read.records], dtype=float)
    folder = str(site_toml.parent)
    texts = [text.replace(folder, "") for text in (*result.notes, *logged)]
    fitted = result.fits[-1]
    return Figures(
        n_cph=result.cosmic_n_cph,
        sigma_cph=fitted.sigma_cph,
        probes=float(np.nanmean(probes)) if np.isfinite(probes).any() else float("nan"),
        days=float(days.mean()),
        rain_mm=float(np.nansum(rain)) if np.isfinite(rain).any() else float("nan"),
        notes=frozenset(texts),
    )


def difference(old: Figures, new: Figures) -> str:
    """Describe in what the figures differ by more than they may; "": they agree."""
    out = []
    if not abs(new.n_cph - old.n_cph) <= SIGMAS * old.sigma_cph:
        sigmas = abs(new.n_cph - old.n_cph) / old.sigma_cph
        out.append(f"N {old.n_cph:.0f} -> {new.n_cph:.0f} ({sigmas:.1f} sigma)")
    for name, allowed in (
        ("probes", AGREE * old.probes), ("rain_mm", AGREE * old.rain_mm), ("days", AGREE),
    ):  # fmt: skip
        a, b = getattr(old, name), getattr(new, name)
        if np.isfinite(a) and not abs(b - a) <= allowed:
            out.append(f"{name} {a:.3f} -> {b:.3f}")
    return ", ".join(out)


def try_one(case: Case, old: Figures, kind: str, rng: random.Random, folder: Path) -> Result:
    """Change a site once and see what becomes of it."""
    changed, change = mutate(rng, case, kind)
    for file in folder.iterdir():
        file.unlink()
    path = changed.write(folder)
    try:
        new = figures(path)
    except (ConfigError, SourceError) as error:
        faults = error.faults if isinstance(error, ConfigError) else (str(error),)
        texts = [fault.replace(str(folder) + "/", "") for fault in faults]
        helps = all(any(word in text for word in REMEDY) for text in texts)
        named = all(any(f in text for f in ("site.toml", *changed.sheets)) for text in texts)
        outcome = "refused" if helps and named else "no remedy"
        return Result(case.name, kind, change, outcome, " | ".join(texts))
    except Exception:  # noqa: BLE001 - every traceback is an outcome
        return Result(case.name, kind, change, "traceback", traceback.format_exc())
    differs, notes = difference(old, new), sorted(new.notes - old.notes)
    if not differs:
        return Result(case.name, kind, change, "same N", " | ".join(notes))
    outcome = "noted" if notes else "silent"
    return Result(case.name, kind, change, outcome, f"{differs} | {' | '.join(notes)}")


def run_site(name: str, mutations: int, seed: int, each: bool = False) -> list[Result]:
    """Try mutations of one site, of every kind in turn.

    Raises
    ------
    FileNotFoundError
        The site's files are not on this machine.
    """
    rng, results = random.Random(f"{seed} {name}"), []
    with tempfile.TemporaryDirectory() as temporary:
        folder, case = Path(temporary), load(name)
        old = figures(case.write(folder))
        for kind in itertools.islice(itertools.cycle(KINDS), mutations):
            result = try_one(case, old, kind, rng, folder)
            results.append(result)
            if each or result.outcome in FAULTS:
                print(*dataclasses.astuple(result), sep=" | ", flush=True)
    return results


def run(
    mutations: int, seed: int, names: Sequence[str] = NAMES, each: bool = False
) -> list[Result]:
    """Try mutations of several sites, each in its own process."""
    shares = [len(range(i, mutations, len(names))) for i in range(len(names))]
    with ProcessPoolExecutor(len(names)) as pool:
        done = pool.map(run_site, names, shares, [seed] * len(names), [each] * len(names))
        return [result for results in done for result in results]


def table(results: Sequence[Result]) -> str:
    """Format the number of outcomes of each kind of mutation."""
    lines = [" | ".join(f"{name:>10}" for name in (f"{'kind':22}", "tried", *OUTCOMES))]
    for kind in (*KINDS, "all"):
        own = Counter(r.outcome for r in results if kind in (r.kind, "all"))
        numbers = [own.total(), *(own[name] for name in OUTCOMES)]
        lines.append(" | ".join([f"{kind:22}", *(f"{n:10}" for n in numbers)]))
    return "\n".join(lines)


def main() -> int:
    """Run from the command line; exit code 1: something passed silently or in a traceback."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", action="store_true", help="print every mutation")
    parser.add_argument("--site", nargs="+", default=NAMES, choices=NAMES)
    arguments = parser.parse_args()
    results = run(arguments.mutations, arguments.seed, arguments.site, arguments.each)
    print(table(results))
    return int(any(r.outcome in FAULTS for r in results))


if __name__ == "__main__":
    sys.exit(main())
