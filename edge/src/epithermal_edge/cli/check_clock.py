"""Check the machine's clock for `check`: is it correct now, and after a power cut?"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from epithermal_edge.station import clock

RTC = Path("/sys/class/rtc")
COMMAND = ("timedatectl", "show", "--property=NTP,CanNTP")
TIMEOUT_S = 5.0  # of timedatectl

Verdict = tuple[str, str]
"""Reason and remedy; the remedy is empty if nothing needs to be done."""


def examine() -> Verdict:
    """Check the clock of this machine."""
    since_boot = clock.TIMESYNC.exists()
    return judge(clock.read_synchronised(), since_boot, _ntp(), _has_rtc())


def judge(is_synchronised: bool, was_since_boot: bool, ntp: str | None, has_rtc: bool) -> Verdict:
    """Judge whether time stamps will be correct now and after a power cut.

    Parameters
    ----------
    was_since_boot :
        systemd-timesyncd has reached a server since the machine started.
    ntp :
        State of NTP as timedatectl reports it: "on", "off" or "missing" (no NTP service is
        installed); None if unknown.
    """
    if is_synchronised and has_rtc:
        return "synchronised; has a hardware clock", ""
    if is_synchronised:
        why = "synchronised, but no hardware clock: after a power cut the clock continues from"
        return f"{why} the last shutdown until an NTP server is reached", (
            "fit one (Raspberry Pi: dtoverlay=i2c-rtc,ds3231), or start the network before the"
            " station"
        )
    why = "not synchronised now" if was_since_boot else "not synchronised since boot"
    lacks = "" if has_rtc else "; no hardware clock"
    if ntp == "off":
        return f"{why}: NTP is switched off{lacks}", "sudo timedatectl set-ntp true"
    if ntp == "missing":
        return f"{why}: no NTP service is installed{lacks}", "sudo apt install systemd-timesyncd"
    cause = "NTP is on but reaches no server" if ntp == "on" else "nothing synchronises the clock"
    return f"{why}: {cause}{lacks}", (
        "check network and firewall (UDP 123), /etc/systemd/timesyncd.conf or chrony, or use a GPS"
    )


def _ntp(command: Iterable[str] = COMMAND) -> str | None:
    """Return the state of NTP as timedatectl reports it; None if that fails."""
    try:
        done = subprocess.run(
            [*command],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    properties = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if properties.get("CanNTP") == "no":
        return "missing"
    return {"yes": "on", "no": "off"}.get(properties.get("NTP", ""))


def _has_rtc() -> bool:
    """Check whether the machine has a battery-backed clock."""
    return RTC.is_dir() and any(RTC.iterdir())
