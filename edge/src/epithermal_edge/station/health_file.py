"""Write health.json, the state of every part of the station, for `status` and other programs."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "health.json"
CHECK_S, WRITE_S = 5.0, 60.0  # between two checks; longest time between two writes

log = logging.getLogger(__name__)


class HealthFile:
    """File beside the journal, replaced by renaming so that readers never see a partial file.

    It is not synced to disk: after a power cut it is out of date anyway, and each sync wears the
    SD card.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._checked_at = self._written_at = -1e9  # [s], monotonic
        self._content: dict[str, object] = {}
        self._is_failing = False

    def is_due(self, now: float) -> bool:
        """Check whether it is time to collect the state of every part."""
        return now - self._checked_at >= CHECK_S

    def write(self, now: float, health: Mapping[str, object]) -> None:
        """Write the state if anything but its time has changed, or WRITE_S after the last write."""
        self._checked_at = now
        content = {name: value for name, value in health.items() if name != "updated"}
        if content == self._content and now - self._written_at < WRITE_S:
            return
        new = self._path.with_suffix(".json.new")
        try:
            new.write_text(json.dumps(health, indent=1, allow_nan=False) + "\n", "utf-8")
            os.replace(new, self._path)
        except OSError as error:
            if not self._is_failing:
                log.warning("%s: %s", self._path, error)
            self._is_failing = True
            return
        self._is_failing, self._written_at, self._content = False, now, content


def status_line(health: Mapping[str, Any]) -> str:
    """Summarize the state in one line, for systemd."""
    journal, sender = health["journal"], health["sender"]
    parts = [
        f"{journal.get('records', '?')} records",
        f"newest {health['engine']['last_end'] or 'none'}",
        f"{journal.get('waiting', '?')} messages wait",
    ]
    if sender is not None:
        parts.append("connected" if sender["connected"] else "no broker")
    rebuilding = health["engine"].get("rebuilding")
    if rebuilding:
        parts.insert(0, f"rebuilding the state: {rebuilding['done']} of {rebuilding['of']} records")
    if not journal["writable"]:
        parts.append(f"{health['engine']['waiting']} records in memory: {journal['last_error']}")
    return ", ".join(parts)
