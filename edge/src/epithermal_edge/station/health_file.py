"""health.json: how every part of the station is, for `status` and whoever else looks."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "health.json"
EACH_S, AT_LEAST_S = 5.0, 60.0  # between two looks; between two writings when nothing changes

log = logging.getLogger(__name__)


class HealthFile:
    """Written beside the journal by renaming, so that a reader never sees half of it.

    It is not synced: what it says is old after a power cut anyway, and a card wears out.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._looked = self._written = -1e9  # [s], monotonic
        self._content: dict[str, object] = {}
        self._fails = False

    def is_due(self, now: float) -> bool:
        """Whether it is time to look at every part."""
        return now - self._looked >= EACH_S

    def write(self, now: float, health: Mapping[str, object]) -> None:
        """Write it when anything but its time has changed, or after AT_LEAST_S."""
        self._looked = now
        content = {name: value for name, value in health.items() if name != "updated"}
        if content == self._content and now - self._written < AT_LEAST_S:
            return
        new = self._path.with_suffix(".json.new")
        try:
            new.write_text(json.dumps(health, indent=1, allow_nan=False) + "\n", "utf-8")
            os.replace(new, self._path)
        except OSError as error:
            if not self._fails:
                log.warning("%s: %s", self._path, error)
            self._fails = True
            return
        self._fails, self._written, self._content = False, now, content


def line(health: Mapping[str, Any]) -> str:
    """The same in one line, for systemd."""
    journal, sender = health["journal"], health["sender"]
    parts = [
        f"{journal.get('records', '?')} records",
        f"newest {health['engine']['last_end'] or 'none'}",
        f"{journal.get('waiting', '?')} messages wait",
    ]
    if sender is not None:
        parts.append("connected" if sender["connected"] else "no broker")
    if not journal["writable"]:
        parts.append(f"{health['engine']['waiting']} records in memory: {journal['last_error']}")
    return ", ".join(parts)
