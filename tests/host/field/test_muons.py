"""Muons of a real probe in place of a neutron monitor."""

import dataclasses
import gzip
import math
from datetime import UTC, datetime

import numpy as np
import pytest

from epithermal_edge.loggers.files import read_records
from epithermal_edge.physics import muon_rate
from epithermal_edge.records import Quality
from epithermal_edge.site import Muons, Site
from epithermal_edge.times import DAY_S, HOUR_S
from epithermal_host.field.sampled_counts import corrected


def stamp(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.fixture(scope="module")
def finapp(shared):
    """Records of the probe with JUNG beside the muons, and JUNG's counts."""
    name = shared / "field" / "roaring-fork-common" / "jung_as_logged.csv.gz"
    with gzip.open(name, "rt") as file:
        rows = [line.strip().split(",") for line in file][1:]
    time_s = np.array([stamp(text) for text, _ in rows])
    counts = np.array([float(count) for _, count in rows])
    records = read_records([shared / "field" / "finapp141" / "finapp141.csv.gz"], "finapp").records

    def jung(end_s):
        newest = np.searchsorted(time_s, end_s, side="right") - 1
        return float(counts[newest]) if end_s - time_s[newest] < 6 * HOUR_S else math.nan

    return [dataclasses.replace(r, incoming=jung(r.end_s)) for r in records]


def daily(site, records):
    """Mean corrected rate of each day with 12 records, and the flags of each record."""
    out = corrected(site, records)
    day = out.end_s // DAY_S
    usable = out.live_s > 0.0
    days = [d for d in np.unique(day) if np.sum(usable & (day == d)) >= 12]
    return {d: out.n_cph[usable & (day == d)].mean() for d in days}, out.quality


def both(records, begin, end):
    """Daily rates with muons over those with JUNG, r of the two, share of odd muons."""
    some = [r for r in records if stamp(begin) <= r.end_s < stamp(end)]
    first = [r for r in some if r.end_s < stamp(begin) + 14 * DAY_S]
    pressure = float(np.nanmedian([r.pressure_hpa for r in some]))
    rate = muon_rate(
        [r.channels.get("muon_counts", math.nan) for r in first],
        *([getattr(r, n) for r in first] for n in ("duration_s", "pressure_hpa", "temperature_c")),
        pressure,
        Muons(),
    )
    plain = Site(1000.0, 1.4, pressure_ref_hpa=pressure, incoming_form="plain")
    mean = float(np.nanmean([r.incoming for r in first]))
    jung, _ = daily(dataclasses.replace(plain, incoming_ref=mean), some)
    own = dataclasses.replace(plain, incoming_ref=float(np.nanmean(rate)), muons=Muons())
    muons, quality = daily(own, some)
    a, b = (np.array([rates[d] for d in sorted(jung)]) for rates in (muons, jung))
    odd = np.mean((quality & int(Quality.INCOMING_JUMP)) != 0)
    return (a / b).mean(), (a / b).std(), np.corrcoef(a, b)[0, 1], odd


def test_muons_correct_as_jung_does_while_their_channel_is_stable(finapp):
    ratio, deviation, r, odd = both(finapp, "2023-11-24", "2024-02-01")
    assert ratio == pytest.approx(1.0, abs=0.005) and deviation < 0.012
    assert r > 0.9 and odd == 0.0


def test_a_muon_channel_that_loses_its_counts_is_flagged(finapp):
    ratio, _, _, odd = both(finapp, "2024-04-02", "2024-07-01")
    assert ratio > 1.05 and odd > 0.4  # by JUNG nothing of the kind has happened
