"""Run a real station with a page and a month of records."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
import urllib.request
from contextlib import contextmanager

from tests.support.rig import BUNDLE, PATIENCE_S, Daemon, Line, free_port, station_toml, wait_until
from tests.support.sites import SITE

from epithermal_edge.cli import simulator
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.inference import engine as engines
from epithermal_edge.journal.journal import Journal
from epithermal_edge.journal.rows import estimate_row
from epithermal_edge.rollout.loading import load_engine
from epithermal_edge.times import HOUR_S

INTERVAL_S = 3 * HOUR_S
WATER = "[site.water]\nfield_capacity = 0.35\nwilting_point = 0.12\ncrop = 'maize'\n"
SOURCE = 'dialect = "records"\nstamps = "unchecked"\ninterval_s = 10800\n'


class PageStation:
    """`epithermal-edge run` with a page; the test is its logger."""

    def __init__(self, folder, days=31.0, water=WATER):
        self.line, self.port = Line(), free_port()
        toml = station_toml(
            folder, url=self.line.name, site=SITE + water, source=SOURCE, bundle=warm_bundle(folder)
        )
        toml.write_text(f"{toml.read_text()}[page]\nport = {self.port}\n")
        self.config = read_config(toml)
        newest_s = time.time() // HOUR_S * HOUR_S
        records = list(simulator.records(days, 7, newest_s - days * 86400.0, INTERVAL_S))
        self.later = records.pop()
        _fill(self.config, records)
        self.daemon = Daemon(toml).ready()
        wait_until(lambda: "page: on" in self.daemon.log(), what=self.daemon.log())

    def send(self, record):
        """Send a record as the logger does."""
        self.line.write(b"".join(simulator.lines("records", [record])))

    def url(self, name=""):
        return f"http://127.0.0.1:{self.port}/{name}"

    def get(self, name):
        """Return a JSON document of the page."""
        with urllib.request.urlopen(self.url(name), timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def stop(self):
        code = self.daemon.stop()
        self.line.close()
        return code


def warm_bundle(folder):
    """Copy the test bundle with a shorter spin-up, so that a month of records is enough."""
    bundle = folder / BUNDLE.name
    shutil.copytree(BUNDLE, bundle)
    about, manifest = bundle / "bundle.toml", bundle / "MANIFEST"
    before = hashlib.sha256(about.read_bytes()).hexdigest()
    about.write_text(re.sub(r"spin_up_steps = \d+", "spin_up_steps = 10", about.read_text()))
    after = hashlib.sha256(about.read_bytes()).hexdigest()
    manifest.write_text(manifest.read_text().replace(before, after))
    return bundle


def _fill(config, records):
    """Write the journal as the station would have done."""
    engine, journal = load_engine(config), Journal(config.state_dir)
    model = f"{engine.bundle.name} {engine.bundle.version}"
    state = engines.start(engine)
    for seq, record in enumerate(records, 1):
        state, out = engines.advance(engine, state, record)
        row = estimate_row(seq, out, model)
        journal.commit(seq, record, state, engine.fingerprint(), (), estimate=row)
    journal.close()


@contextmanager
def running(folder, **options):
    """Yield a station and stop it at the end."""
    station = PageStation(folder, **options)
    try:
        yield station
    finally:
        station.stop()
