"""Boot a systemd in a container, from this machine's files or another tree, under an overlay.

It cannot change the machine: writes go to memory, and its network is private.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NEEDED = ("systemd-nspawn", "nsenter", "systemctl")
BOOT_S = 300.0
SLOWER = float(os.environ.get("EPITHERMAL_SLOWER", "1"))  # of emulation, for limits in unit files


def why_not() -> str:
    """Name what is missing for booting a container; empty if nothing is."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (apt install systemd-container)"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "the kernel has no overlay file system"
    return ""


class Container:
    """A booted container; `run` executes a command in it."""

    def __init__(self, below: Path = Path("/")) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="booted-"))
        self.root = self.base / "root"
        self._process: subprocess.Popen[bytes] | None = None
        _do("mount", "-t", "tmpfs", "tmpfs", self.base)
        for name in ("upper", "work", "root"):
            (self.base / name).mkdir()
        layers = f"lowerdir={below},upperdir={self.base}/upper,workdir={self.base}/work"
        _do("mount", "-t", "overlay", "overlay", "-o", layers, self.root)
        try:
            self._boot()
        except BaseException:
            self.close()
            raise

    def _boot(self) -> None:
        (self.root / "etc/machine-id").write_text("")
        wants = self.root / "etc/systemd/system/multi-user.target.wants"
        for unit in wants.glob("*.service"):  # without the services of the machine
            unit.unlink()
        self._log = (self.base / "console").open("wb")
        self._process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network",
             "--console=pipe", "-D", self.root, "-b", "systemd.unit=multi-user.target"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )  # fmt: skip
        until = time.monotonic() + BOOT_S
        while self.systemctl("is-system-running") not in ("running", "degraded"):
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError((self.base / "console").read_text(errors="replace")[-3000:])
            time.sleep(0.5)

    def leader(self) -> str:
        """Return the process id of the container's process 1 on the machine."""
        assert self._process is not None
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        children = path.read_text().split()
        return children[-1] if children else "0"

    def run(self, *command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as root."""
        enter = ["nsenter", "-t", self.leader(), "-m", "-p", "-n", "-u", "-i", "-r", "-w", "--"]
        clean = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        return subprocess.run(
            [*enter, *map(str, command)],
            env=clean, capture_output=True, text=True, check=check, timeout=900,
        )  # fmt: skip

    def systemctl(self, *command: object) -> str:
        """Return the output of systemctl."""
        return self.run("systemctl", *command, check=False).stdout.strip()

    def close(self) -> None:
        """Stop the container and remove all files."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.terminate()
                self._process.wait(BOOT_S)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._log.close()
        _do("umount", "--lazy", self.root)
        _do("umount", "--lazy", self.base)
        self.base.rmdir()


def _do(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True)
