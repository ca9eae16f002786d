"""Define units of time in seconds and format instants in UTC."""

from __future__ import annotations

import math
from datetime import UTC, datetime

HOUR_S = 3600.0
DAY_S = 86400.0


def utc(time_s: float) -> str | None:
    """Format a Unix time as ISO 8601 with Z, with milliseconds where needed; None if not finite."""
    if not math.isfinite(time_s):
        return None
    moment = datetime.fromtimestamp(round(time_s, 3), UTC)
    spec = "seconds" if moment.microsecond == 0 else "milliseconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")
