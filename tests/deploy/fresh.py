"""Create a new Debian in a folder below build/ with mmdebstrap, once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.rig import ROOT

KEPT = ROOT / "build" / "debian"
MIRROR = "http://deb.debian.org/debian"
BOOTS = "python3,systemd-sysv,udev,dbus,mosquitto,mosquitto-clients,ca-certificates"
RUNS = "base-files,python3,dash,coreutils,libstdc++6,libgcc-s1,zlib1g"
QEMU = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")  # of qemu-user-static
BINFMT = Path("/proc/sys/fs/binfmt_misc")


def why_not() -> str:
    """Name what is missing for creating a Debian; empty if nothing is."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("mmdebstrap") is None:
        return "not installed: mmdebstrap (apt install mmdebstrap)"
    return ""


def debian(suite: str) -> Path:
    """Create one of this architecture that boots and has a broker, but no station."""
    return _made(f"{suite}-boots", "--variant=minbase", f"--include={BOOTS}", suite)


def arm64(suite: str) -> Path:
    """Create one for arm64, whose Python runs, without configuring its packages."""
    options = ("--variant=extract", "--architectures=arm64", f"--include={RUNS}")
    return _made(f"{suite}-arm64", *options, suite)


def _made(name: str, *options: str) -> Path:
    folder, fresh = KEPT / name, KEPT / f".{name}"
    if not folder.is_dir():
        shutil.rmtree(fresh, ignore_errors=True)
        KEPT.mkdir(parents=True, exist_ok=True)
        command = ["mmdebstrap", "--quiet", *options, str(fresh), MIRROR]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=1200)
        fresh.rename(folder)
    return folder


def why_no_emulation() -> str:
    """Name what is missing for running arm64 programs; empty if they run."""
    if shutil.which("qemu-aarch64-static") is None or not QEMU.exists():
        return "not installed: qemu-user-static (apt install qemu-user-static)"
    if not (BINFMT / "register").exists():
        mounted = subprocess.run(
            ["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], capture_output=True, check=False
        )
        if mounted.returncode:
            return "the kernel has no binfmt_misc"
    if not (BINFMT / "qemu-aarch64").exists():
        (BINFMT / "register").write_text(QEMU.read_text().strip())
    return ""
