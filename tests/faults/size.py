"""Choose the size of a fault test: long for `make faults`, short in the ordinary suite."""

from __future__ import annotations

import os


def size(short: int, full: int) -> int:
    """Return the number of faults; EPITHERMAL_FAULTS is "full" or "short" (the default)."""
    return full if os.environ.get("EPITHERMAL_FAULTS", "short") == "full" else short
