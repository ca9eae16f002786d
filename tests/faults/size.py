"""How large a fault test is: `make faults` runs it whole, the ordinary suite its short form."""

from __future__ import annotations

import os


def size(short: int, full: int) -> int:
    """The number of faults to make: EPITHERMAL_FAULTS is "full" or "short" (the default)."""
    return full if os.environ.get("EPITHERMAL_FAULTS", "short") == "full" else short
