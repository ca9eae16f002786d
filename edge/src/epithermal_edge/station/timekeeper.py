"""The station's sense of time: arrivals by boot and boot time, stamps by `stamps`, kept on disk."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, replace

from epithermal_edge.records import RawRecord
from epithermal_edge.station import stamps
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.stamps import Arrival, Held, Rules, Stamps, Verdict

PREFIX = "clock "
SELF = PREFIX + "state"
LOOK_S = 1.0  # how often the wall clock's state is read

log = logging.getLogger(__name__)


class Timekeeper:
    """Settles when records ended.

    Parameters
    ----------
    kept :
        What the journal keeps under `PREFIX`.
    last_end_s : [s]
        End of the newest record in the stream; -inf: none.
    """

    def __init__(
        self, rules: Rules, clock: Clock, kept: Mapping[str, str], last_end_s: float
    ) -> None:
        self._rules, self._clock = rules, clock
        self._written = dict(kept)
        self.state, boot_id = _read(kept)
        self._boot_id = clock.boot_id()
        self._boot = self.state.boot + (self._boot_id != boot_id)
        if self.state.last_end_s < last_end_s:
            self.state = replace(self.state, last_end_s=last_end_s, last_boot=-1)
        self._looked_s, self._is_synchronised = -math.inf, False

    def arrival(self, boottime_s: float | None = None) -> Arrival:
        """When something was heard; None: now."""
        now_s = self._clock.boottime()
        if not 0.0 <= now_s - self._looked_s < LOOK_S:
            self._looked_s, self._is_synchronised = now_s, self._clock.synchronised()
        heard_s = now_s if boottime_s is None else boottime_s
        if not self._is_synchronised:
            return Arrival(self._boot, heard_s)
        return Arrival(self._boot, heard_s, self._clock.wall() - (now_s - heard_s))

    def judge(self, record: RawRecord, boottime_s: float) -> Verdict:
        """Settle a record's end, or hold it; `state` is not changed before `adopt`."""
        return stamps.judge(self._rules, self.state, record, self.arrival(boottime_s))

    def settle(self) -> Verdict:
        """Take notice of the clock when no record comes."""
        return stamps.settle(self._rules, self.state, self.arrival())

    def adopt(self, verdict: Verdict) -> None:
        """The verdict is carried out."""
        for kind, text in verdict.events:
            log.warning("%s: %s", kind, text)
        self.state = verdict.state

    def now_s(self) -> float:
        """The best that is known of the time [s, UTC], to tell what is live.

        A wall clock that is not synchronised is late, where it is wrong: it starts from the last
        time that the machine saved.
        """
        now, state, wall_s = self.arrival(), self.state, self._clock.wall()
        if not math.isnan(now.utc_s):
            return now.utc_s
        known = not (math.isnan(state.offset_s) or state.reckoned)
        if known and now.boot == state.boot:
            return now.boottime_s + state.offset_s
        if now.boot != state.last_boot:
            return wall_s
        return max(wall_s, state.last_end_s + now.boottime_s - state.last_boottime_s)

    def to_keep(self, state: Stamps) -> dict[str, str | None]:
        """What must be written to disk of a state; None: delete it."""
        told = asdict(replace(state, held=())) | {"boot_id": self._boot_id}
        wanted = {SELF: json.dumps(told)}
        wanted |= {f"{PREFIX}held {held.number:09d}": _text(held) for held in state.held}
        changed: dict[str, str | None] = dict.fromkeys(self._written.keys() - wanted.keys())
        changed |= {k: v for k, v in wanted.items() if self._written.get(k) != v}
        return changed

    def kept(self, changed: Mapping[str, str | None]) -> None:
        """`to_keep` is on disk."""
        for key, value in changed.items():
            if value is None:
                self._written.pop(key, None)
            else:
                self._written[key] = value

    def rebase(self, kept: Mapping[str, str]) -> None:
        """The journal is another one: this is what it keeps."""
        self._written = dict(kept)

    def health(self) -> dict[str, object]:
        """What an operator wants to know of the clocks."""
        arrival = self.arrival()
        offset_s = self.state.offset_s
        known = arrival.boot == self.state.boot and math.isfinite(offset_s)
        lag_s = self.state.lag_s
        return {
            "synchronised": not math.isnan(arrival.utc_s),
            "boot": self._boot,
            "offset_s": round(offset_s, 3) if known else None,
            "logger_lag_s": None if math.isnan(lag_s) else round(lag_s, 1),
            "held": len(self.state.held),
            "refused": self.state.refused,
            "steps": self.state.steps,
        }


def _text(held: Held) -> str:
    return json.dumps(asdict(held))


def _read(kept: Mapping[str, str]) -> tuple[Stamps, str]:
    """State and boot id as they were kept; what is damaged is as if it had never been."""
    if SELF not in kept:
        return Stamps(), ""
    try:
        told = json.loads(kept[SELF])
        boot_id = str(told.pop("boot_id"))
        held = [_held(text) for key, text in sorted(kept.items()) if key != SELF]
        state = Stamps(**{**told, "held": tuple(held)})
        checked = (state.boot, state.last_end_s, state.offset_s, state.lag_s, state.numbers)
        if not all(isinstance(value, (int, float)) for value in checked):
            raise ValueError("not numbers")
    except (ValueError, TypeError, KeyError, AttributeError) as damage:
        log.warning("what was kept of the clock is damaged: %s", damage)
        return Stamps(), ""
    return state, boot_id


def _held(text: str) -> Held:
    told = json.loads(text)
    names = {field.name for field in fields(RawRecord)}
    values = {name: float(value) for name, value in told["record"].items() if name in names}
    return Held(
        RawRecord(**values),
        int(told["boot"]),
        float(told["boottime_s"]),
        bool(told["doubted"]),
        int(told["number"]),
    )
