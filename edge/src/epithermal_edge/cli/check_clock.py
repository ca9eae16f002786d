"""What `check` says of the machine's clock: whether it is true now, and after a power cut."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from epithermal_edge.station import clock

RTC = Path("/sys/class/rtc")
ASK = ("timedatectl", "show", "--property=NTP,CanNTP")
ASK_S = 5.0  # how long timedatectl may take

Said = tuple[str, str]
"""Why, and the remedy; that is empty where there is nothing to do."""


def examine() -> Said:
    """This machine's clock."""
    since_boot = clock.TIMESYNC.exists()
    return judge(clock.read_synchronised(), since_boot, _ntp(), _has_rtc())


def judge(is_synchronised: bool, was_since_boot: bool, ntp: str | None, has_rtc: bool) -> Said:
    """What the facts mean for the stamps.

    Parameters
    ----------
    was_since_boot :
        systemd-timesyncd has reached a server since the machine started.
    ntp :
        Of timedatectl: "on", "off", or "missing": there is no service for it; None: it does not
        say.
    """
    if is_synchronised and has_rtc:
        return "synchronised, and there is a hardware clock", ""
    if is_synchronised:
        why = "synchronised, but there is no hardware clock: after a power cut the time is that of"
        return f"{why} the last shutdown until a server is reached", (
            "fit one (Raspberry Pi: dtoverlay=i2c-rtc,ds3231), or see that the network comes first"
        )
    why = "not synchronised now" if was_since_boot else "never synchronised since the start"
    lacks = "" if has_rtc else "; no hardware clock"
    if ntp == "off":
        return f"{why}: NTP is switched off{lacks}", "sudo timedatectl set-ntp true"
    if ntp == "missing":
        return f"{why}: no NTP service is installed{lacks}", "sudo apt install systemd-timesyncd"
    told = "NTP is on but reaches no server" if ntp == "on" else "the kernel's clock is not kept"
    return f"{why}: {told}{lacks}", (
        "see network and firewall (UDP 123), /etc/systemd/timesyncd.conf or chrony, or use a GPS"
    )


def _ntp(command: Iterable[str] = ASK) -> str | None:
    """Whether NTP is on, as timedatectl says; None where that cannot be asked."""
    try:
        done = subprocess.run(
            [*command], capture_output=True, text=True, timeout=ASK_S, check=True, env=_plain()
        )
    except (OSError, subprocess.SubprocessError):
        return None
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if told.get("CanNTP") == "no":
        return "missing"
    return {"yes": "on", "no": "off"}.get(told.get("NTP", ""))


def _plain() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def _has_rtc() -> bool:
    """Whether there is a clock that goes on without power."""
    return RTC.is_dir() and any(RTC.iterdir())
