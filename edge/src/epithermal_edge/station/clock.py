"""Read the machine's clocks, its boot id and whether its time is synchronised."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TIMESYNC = Path(
    "/run/systemd/timesync/synchronized"
)  # written by systemd-timesyncd at each synchronisation
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TIME_ERROR = 5  # adjtimex(2) returns it while the clock is not synchronised
TIMEX_BYTES = 512  # struct timex has 208; with all modes zero the call only reads


def read_boottime() -> float:
    """Return the seconds since the machine started, including sleep; nobody can set this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_boot_id() -> str:
    """Return the random id of this boot of the machine; empty if unknown."""
    try:
        return BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


def read_synchronised() -> bool:
    """Check whether the system clock is synchronised by NTP, GPS or a reference clock.

    The kernel holds the flag (adjtimex with no mode set only reads and needs no privilege); setting
    the clock by hand clears it. Where a sandbox forbids the call, the file of systemd-timesyncd is
    used.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    if state >= 0:
        return bool(state != TIME_ERROR)
    return os.path.exists(TIMESYNC)


@dataclass(frozen=True, slots=True)
class Clock:
    """Clocks of the station; tests pass their own."""

    monotonic: Callable[[], float] = time.monotonic  # [s], for pauses and time-outs
    wall: Callable[[], float] = time.time  # Unix time [s]; can be wrong, can step
    boottime: Callable[[], float] = read_boottime  # [s] since boot; orders records
    synchronised: Callable[[], bool] = read_synchronised  # whether `wall` is correct
    boot_id: Callable[[], str] = read_boot_id
