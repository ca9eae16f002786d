"""Read the station's clocks, stamp records with `stamps`, and prepare its state for the journal."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, replace

from epithermal_edge.records import NUMBERS, RawRecord
from epithermal_edge.station import stamps
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.stamps import Ahead, Arrival, Held, Rules, Stamps, Verdict

PREFIX = "clock "
SELF = PREFIX + "state"
CHECK_S = 1.0  # between two checks whether the wall clock is synchronised

log = logging.getLogger(__name__)


class Timekeeper:
    """Clocks of a station and the state of its time stamps.

    Parameters
    ----------
    stored :
        Keys and values of the journal that begin with `PREFIX`.
    last_end_s : [s]
        End of the newest record [Unix time]; -inf: none.
    """

    def __init__(
        self, rules: Rules, clock: Clock, stored: Mapping[str, str], last_end_s: float
    ) -> None:
        self._rules, self._clock = rules, clock
        self._written = dict(stored)
        self.state, boot_id = _read_state(stored)
        self._boot_id = clock.boot_id()
        self._boot = self.state.boot + (self._boot_id != boot_id)
        if self.state.last_end_s < last_end_s:
            self.state = replace(self.state, last_end_s=last_end_s, last_boot=-1)
        self._checked_s, self._is_synchronised = -math.inf, False
        self._examined_s = -math.inf  # newest end that must stay, although it lies ahead

    def arrival(self, boottime_s: float | None = None) -> Arrival:
        """Return the arrival time of data read at this boot time [s]; None: now."""
        now_s = self._clock.boottime()
        if not 0.0 <= now_s - self._checked_s < CHECK_S:
            self._checked_s, self._is_synchronised = now_s, self._clock.synchronised()
        heard_s = now_s if boottime_s is None else boottime_s
        if not self._is_synchronised:
            return Arrival(self._boot, heard_s)
        return Arrival(self._boot, heard_s, self._clock.wall() - (now_s - heard_s))

    def stamp_record(self, record: RawRecord, boottime_s: float) -> Verdict:
        """Stamp a record or hold it; `state` changes only in `apply`."""
        return stamps.stamp_record(self._rules, self.state, record, self.arrival(boottime_s))

    def update_clock(self) -> Verdict:
        """Update with the clocks when no record arrives; `state` changes only in `apply`."""
        return stamps.update_clock(self._rules, self.state, self.arrival())

    def find_ahead(self) -> Ahead | None:
        """Check whether the newest records lie far ahead of the synchronised clock."""
        if self.state.last_end_s == self._examined_s:
            return None
        return stamps.find_ahead(self._rules, self.state, self.arrival())

    def drop_newest(self, newest_s: float) -> None:
        """Continue after the newest record that is left [s, Unix time]; -inf: none."""
        self.state = stamps.drop_newest(self.state, newest_s)
        self._examined_s = newest_s

    def apply(self, verdict: Verdict) -> None:
        """Log the events of a verdict and adopt its state."""
        for kind, text in verdict.events:
            log.warning("%s: %s", kind, text)
        self.state = verdict.state

    def now_s(self) -> float:
        """Return the best estimate of the current time [s, UTC], to decide which records are live.

        An unsynchronised wall clock can only be behind: after a boot it starts from the last time
        that the machine saved.
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

    def changes(self, state: Stamps) -> dict[str, str | None]:
        """Return the journal keys that storing a state changes; None: delete the key."""
        wanted = {SELF: _state_text(state, self._boot_id)}
        wanted |= {f"{PREFIX}held {held.number:09d}": _text(held) for held in state.held}
        changed: dict[str, str | None] = dict.fromkeys(self._written.keys() - wanted.keys())
        changed |= {k: v for k, v in wanted.items() if self._written.get(k) != v}
        return changed

    def mark_stored(self, changed: Mapping[str, str | None]) -> None:
        """Record that the journal has stored these changes."""
        for key, value in changed.items():
            if value is None:
                self._written.pop(key, None)
            else:
                self._written[key] = value

    def rebase(self, stored: Mapping[str, str]) -> None:
        """Compare later changes with the keys of another journal."""
        self._written = dict(stored)

    def health(self) -> dict[str, object]:
        """Return the state of the clocks for health.json."""
        arrival = self.arrival()
        offset_s = self.state.offset_s
        known = arrival.boot == self.state.boot and math.isfinite(offset_s)
        lag_s = self.state.lag_s
        ahead_s = self.state.last_end_s - arrival.utc_s
        is_ahead = ahead_s > self._rules.tolerance_s and self._rules.stamp_source != "unchecked"
        return {
            "synchronised": not math.isnan(arrival.utc_s),
            "boot": self._boot,
            "offset_s": round(offset_s, 3) if known else None,
            "logger_lag_s": None if math.isnan(lag_s) else round(lag_s, 1),
            "ahead_s": round(ahead_s, 1) if is_ahead else None,
            "held": len(self.state.held),
            "refused": self.state.refused,
            "steps": self.state.steps,
        }


def state_after(stored: Mapping[str, str], newest_s: float) -> dict[str, str]:
    """Return the changes of the stored state after the newest records were set aside.

    Parameters
    ----------
    stored :
        Keys and values of the journal that begin with `PREFIX`.
    newest_s : [s]
        End of the newest record that is left [Unix time]; -inf: none.
    """
    state, boot_id = _read_state(stored)
    if SELF not in stored:
        return {}
    return {SELF: _state_text(stamps.drop_newest(state, newest_s), boot_id)}


def _state_text(state: Stamps, boot_id: str) -> str:
    """Write the state without its held records, which have keys of their own."""
    content = {field.name: getattr(state, field.name) for field in fields(state)}
    return json.dumps(content | {"held": (), "boot_id": boot_id})


def _text(held: Held) -> str:
    return json.dumps(asdict(held))


def _read_state(stored: Mapping[str, str]) -> tuple[Stamps, str]:
    """Return the stored state and boot id; start with an empty state if they are damaged."""
    if SELF not in stored:
        return Stamps(), ""
    try:
        content = json.loads(stored[SELF])
        boot_id = str(content.pop("boot_id"))
        held = [_held(text) for key, text in sorted(stored.items()) if key != SELF]
        state = Stamps(**{**content, "held": tuple(held)})
        checked = (state.boot, state.last_end_s, state.offset_s, state.lag_s, state.numbers)
        if not all(isinstance(value, (int, float)) for value in checked):
            raise ValueError("not numbers")
    except (ValueError, TypeError, KeyError, AttributeError) as damage:
        log.warning("stored clock state is damaged, starting without it: %s", damage)
        return Stamps(), ""
    return state, boot_id


def _held(text: str) -> Held:
    content = json.loads(text)
    record = content["record"]
    values = {name: float(record[name]) for name in NUMBERS if name in record}
    channels = {name: float(value) for name, value in record.get("channels", {}).items()}
    return Held(
        RawRecord(**values, channels=channels),
        int(content["boot"]),
        float(content["boottime_s"]),
        bool(content["doubted"]),
        int(content["number"]),
    )
