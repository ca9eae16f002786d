"""The clocks a station reads; tests drive their own."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TIMESYNC = Path("/run/systemd/timesync/synchronized")  # made by systemd-timesyncd at each success
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
TIMEX_BYTES = 512  # struct timex has 208; zero modes ask and set nothing


def read_boottime() -> float:
    """Seconds since the machine started, sleep included; no one can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_boot_id() -> str:
    """What tells this start of the machine from every other; empty where it is not known."""
    try:
        return BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


def read_synchronised() -> bool:
    """Whether the system's clock is disciplined by NTP, GPS or a reference clock.

    The kernel knows (adjtimex with no mode set only reads, and needs no right); setting the clock
    by hand takes it back. A sandbox that forbids the call leaves systemd-timesyncd's mark.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    if state >= 0:
        return bool(state != TIME_ERROR)
    return os.path.exists(TIMESYNC)


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the time comes from."""

    monotonic: Callable[[], float] = time.monotonic  # [s], for pauses and time-outs
    wall: Callable[[], float] = time.time  # Unix time [s]; can be wrong, can step
    boottime: Callable[[], float] = read_boottime  # [s] since the start; orders records
    synchronised: Callable[[], bool] = read_synchronised  # whether `wall` is true
    boot_id: Callable[[], str] = read_boot_id
