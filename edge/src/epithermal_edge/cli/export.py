"""Print the journal line by line for `tail`, and write it in the formats of `export`."""

from __future__ import annotations

import argparse
import logging
import math
import sqlite3
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import IO

from epithermal_edge import __version__
from epithermal_edge.cli import replay
from epithermal_edge.config.station_toml import Config, read_config
from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_edge.exports import cosmos_europe, methods, netcdf, parquet, variables
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.journal import history
from epithermal_edge.journal.history import JournalEntry, StoredRow
from epithermal_edge.journal.rows import RESULTS
from epithermal_edge.loggers.records_csv import CHECKSUM, seal
from epithermal_edge.messages.observation import qartod, quality_flags
from epithermal_edge.station.status import JOURNAL_FILE
from epithermal_edge.times import utc

log = logging.getLogger(__name__)

POLL_S = 0.5  # between two reads of the journal
COLUMNS = ("seq", *replay.COLUMNS, "model")
_CORRECTED, _ESTIMATE = (
    itemgetter(*map(RESULTS.index, names)) for names in (replay.CORRECTED, replay.ESTIMATE)
)
_WINDOW_END, _AGE = RESULTS.index("window_end_s"), RESULTS.index("state_age_steps")


def write(rows: Iterable[StoredRow], out: IO[str], extra: Sequence[str] = ()) -> int:
    """Write records and their estimates as CSV, one line per record; return their number.

    Parameters
    ----------
    extra :
        Columns from `history.optional_columns`, after the others. The last column is the CRC-32 of
        the line before it, which the dialect `records` verifies.
    """
    print(*COLUMNS, *extra, CHECKSUM, sep=",", file=out)
    count = 0
    for row in rows:
        age = row.results[_AGE]
        cells = replay.format_cells(
            row.record,
            _CORRECTED(row.results),
            _ESTIMATE(row.results),
            row.results[_WINDOW_END],
            0 if age != age else int(age),
            row.quality,
        )
        text = f"{row.seq},{cells},{row.model}{replay.extra_cells(row.record, extra)}"
        out.write(f"{seal(text)}\n")
        count += 1
    return count


def format_line(entry: JournalEntry) -> str:
    """Format a record and its estimate as one line of text."""
    record, estimate = entry.outcome.record, entry.outcome.estimate
    theta = "-" if math.isnan(estimate.theta) else f"{estimate.theta:.3f}"
    sigma = "-" if math.isnan(estimate.theta_sigma) else f"{estimate.theta_sigma:.3f}"
    flags = " ".join(quality_flags(estimate.quality)) or "-"
    return (
        f"{utc(record.end_s)}  n {float(entry.outcome.corrected.n_corr_cph[0]):8.1f} /h"
        f"  theta {theta:>5} +- {sigma:<5}  q {qartod(estimate.quality, estimate.theta)}  {flags}"
    )


def follow(
    path: Path, last: int, forever: bool, sleep: Callable[[float], object] = time.sleep
) -> Iterator[JournalEntry]:
    """Yield the newest records, then each new one as it is committed.

    Parameters
    ----------
    path :
        The journal. If the station replaces it, the new one is followed.
    last :
        Number of stored records to yield first.
    forever :
        Wait for new records after these.

    Raises
    ------
    EpithermalError
        The journal does not exist or cannot be read.
    """
    db, inode = history.open_readonly(path), path.stat().st_ino
    after = history.seq_before_last(db, last)
    try:
        while True:
            for entry in history.read_entries(db, after):
                after = entry.seq
                yield entry
            if not forever:
                return
            sleep(POLL_S)
            now = path.stat().st_ino if path.exists() else inode
            if now != inode:
                db.close()
                db, inode, after = history.open_readonly(path), now, 0
    finally:
        db.close()


def write_file(arguments: argparse.Namespace, form: str, from_s: float, to_s: float) -> str:
    """Write the journal, or the methods behind it, to a file; return a line for people.

    Parameters
    ----------
    arguments :
        Of `export`; `station`, the path in the attribute `form`, `attributes`.
    form :
        netcdf, parquet, cosmos_europe or methods.
    from_s, to_s : [s, Unix time]
        Bounds of the records' ends: from_s < end <= to_s.

    Raises
    ------
    EpithermalError
        The configuration or the journal cannot be read, an optional package is not installed, or
        there are no records.
    """
    config, path = read_config(arguments.station), getattr(arguments, form)
    db = history.open_readonly(config.state_dir / JOURNAL_FILE)
    corrected = config.site.biomass_slope_per_mm != 0.0
    dated = corrected and "biomass_kg_m2" in history.optional_columns(db)
    models, forms = history.models(db), forms_in_use(config, dated=dated)
    if form == "methods":
        title = config.place.name or config.id
        text = methods.text(title, forms, config.site, models, __version__)
        path.write_text(text, encoding="utf-8")
        return f"references={len(methods.references(forms))}"
    entries = history.read_entries(db, from_s=from_s, to_s=to_s, by_time=True)
    if form == "cosmos_europe":
        with path.open("w", encoding="utf-8", newline="") as out:
            outcomes = (entry.outcome for entry in entries)
            return f"records={cosmos_europe.write(outcomes, config.site, out)}"
    header = describe_station(db, config, models, forms, arguments.attributes)
    blocks = variables.record_blocks(
        ((entry.seq, entry.outcome, entry.model) for entry in entries),
        models,
        history.optional_columns(db, from_s, to_s),
        qartod,
    )
    if form == "netcdf":
        return f"records={netcdf.write(path, header, blocks)}"
    about = {"station": config.id, "source": header.source}
    return f"records={parquet.write(path, header.variables, blocks, about)}"


def describe_station(
    db: sqlite3.Connection,
    config: Config,
    models: Sequence[str],
    forms: Sequence[str],
    attributes: Path | None,
) -> netcdf.Header:
    """Describe a station for its file: what produced the series, position, variables."""
    used = ", ".join(models) or "none"
    return netcdf.Header(
        id=config.id,
        name=config.place.name,
        summary="Neutron counts of a cosmic-ray neutron sensor, corrected for the atmosphere, and"
        " soil water contents estimated from them, as the station stored and published them.",
        source=f"epithermal-edge {__version__}; cosmic-ray neutron sensor, logger format"
        f" {config.source.dialect}; models: {used}",
        site=config.site,
        altitude_m=config.place.altitude_m,
        longitude_deg=config.place.longitude_deg,
        forms=tuple(forms),
        variables=variables.record_variables(models, history.optional_columns(db)),
        given={} if attributes is None else read_attributes(attributes),
        time_resolution=f"PT{config.source.interval_s:.0f}S",
    )


def read_attributes(path: Path) -> dict[str, str]:
    """Read the global attributes that the owner of the data gives.

    Raises
    ------
    ConfigError
        The file cannot be read, or has an attribute that is not the owner's to give.
    """
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; check the name") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    known = ", ".join(sorted(netcdf.GIVEN))
    faults = [f"{path}: {k}: unknown; known: {known}" for k in given.keys() - netcdf.GIVEN]
    faults += [f"{path}: {k}: not a text" for k, v in given.items() if not isinstance(v, str)]
    if faults:
        raise ConfigError(*sorted(faults))
    return {str(name): str(value) for name, value in given.items()}


def forms_in_use(config: Config, *, dated: bool) -> list[str]:
    """List the forms that a station uses, keys of exports.forms.FORMS.

    Parameters
    ----------
    dated :
        Its records have biomass of their own.
    """
    place = config.place
    forms = methods.site_forms(config.site, place.altitude_m, place.cutoff_rigidity_gv, dated=dated)
    try:
        forms += methods.network_forms(open_bundle(config.bundle))
    except EpithermalError as error:
        log.warning("the bundle cannot be described: %s", error)
        forms.append("network")
    crop = tomllib.loads(config.path.read_text("utf-8"))["site"].get("water", {}).get("crop")
    water = methods.water_forms(config.site, config.soil_water, crop, config.root_zone)
    return [*forms, "et0", *water, "quality"]
