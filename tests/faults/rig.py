"""Run stations side by side for fault tests."""

from __future__ import annotations

import contextlib
import os
import sys

from tests.support.rig import PATIENCE_S, Line, begin, station_toml, wait_until


class Station:
    """A station in a folder of its own, with a port of its own."""

    def __init__(self, folder, name, port, environ=None, command=None, **options):
        folder.mkdir(exist_ok=True)
        self.folder, self.name, self.line = folder, name, Line()
        self.toml = station_toml(folder, url=self.line.name, port=port, **options)
        text = self.toml.read_text()  # not "test-1" alone: pytest's folders may contain it
        self.toml.write_text(text.replace('id = "test-1"', f'id = "{name}"'))
        self._log = folder / "daemon.log"
        self._environ = {**os.environ, **(environ or {})}
        self._command = command or [sys.executable, "-m", "epithermal_edge", "run"]
        self.process = None

    def start(self):
        with self._log.open("ab") as log:
            self.process = begin([*self._command, str(self.toml)], env=self._environ, stderr=log)
        return self

    def ready(self, times=1):
        def is_ready():
            assert self.process.poll() is None, self.log()
            return self.log().count(" is open") >= times

        wait_until(is_ready, self._log)
        return self

    def log(self):
        return self._log.read_text()

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        with contextlib.suppress(OSError):
            self.line.close()
