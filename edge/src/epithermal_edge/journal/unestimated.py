"""Mark stored records whose estimates are not yet published, or have to be published again.

While the state is rebuilt, records are stored without an estimate. Each has a key in table about
with what its message will need, so that a kill at any moment skips none and repeats none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from epithermal_edge.inference.engine import Outcome
from epithermal_edge.journal.sqlite import Database
from epithermal_edge.records import Quality

PREFIX = "raw "
BEYOND = 1 << 62  # above any record number


@dataclass(frozen=True, slots=True)
class Unestimated:
    """What the message of a stored record needs besides its estimate."""

    epoch: str
    number: int  # in that epoch
    time_q: str
    before_s: float  # latest end of a record before it [s, Unix time]; -inf: none
    rev: int = 0  # 1: it was published without an estimate

    def is_settled(self, outcome: Outcome) -> bool:
        """Check whether what was published stays right: the record is late again."""
        return self.rev > 0 and bool(outcome.estimate.quality & Quality.LATE)


def key_of(seq: int) -> str:
    """Return the key of a record; keys sort by record number."""
    return f"{PREFIX}{seq:019d}"


def values_of(seq: int, mark: Unestimated) -> dict[str, str]:
    """Return key and value to store with a record."""
    before_s = mark.before_s if math.isfinite(mark.before_s) else None
    return {key_of(seq): json.dumps(asdict(mark) | {"before_s": before_s})}


def values_again(seq: int, message_id: str, time_q: str, before_s: float) -> dict[str, str]:
    """Return key and value to publish a message again, with its id and the next revision."""
    _, epoch, number = message_id.rsplit(":", 2)
    return values_of(seq, Unestimated(epoch, int(number), time_q, before_s, rev=1))


def mark_of(values: Mapping[str, str], seq: int) -> Unestimated | None:
    """Return the mark of a record from the stored values; None: its estimate is published."""
    text = values.get(key_of(seq))
    if text is None:
        return None
    mark = Unestimated(**json.loads(text))
    return replace(mark, before_s=-math.inf if mark.before_s is None else mark.before_s)


def first_unestimated(db: Database) -> int:
    """Return the number of the first marked record; a number above any record if there is none."""
    sql = "SELECT key FROM about WHERE key >= ? AND key < ? ORDER BY key LIMIT 1"
    rows = db.rows(sql, (PREFIX, PREFIX + ":"))  # ":" follows the digits
    return int(rows[0][0].removeprefix(PREFIX)) if rows else BEYOND
