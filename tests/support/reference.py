"""Compute the estimates of a logger's lines without daemon, journal, broker and faults."""

from __future__ import annotations

from epithermal_edge.config.station_toml import read_config
from epithermal_edge.inference import engine as engines
from epithermal_edge.loggers import parser
from epithermal_edge.messages.message import rounded
from epithermal_edge.rollout.loading import load_engine
from epithermal_edge.times import utc


def reference(toml, lines):
    """Return end and theta of each record from the engine alone; the first line is the header."""
    context, records = parser.start("records"), []
    for line in lines:
        context, record = parser.parse(context, line.rstrip(b"\n"))
        if record is not None:
            records.append(record)
    outcomes = engines.play(load_engine(read_config(toml)), records)
    return [(utc(o.record.end_s), rounded(o.estimate.theta, 6)) for o in outcomes]


def published(payloads):
    """Return end and theta of messages in the form of `reference`."""
    return [(p["end"], p["theta"]["value"]) for p in payloads]
