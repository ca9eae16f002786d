"""Load pages in headless Chromium with a new profile and no network beyond this machine."""

from __future__ import annotations

import base64
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-dev-shm-usage", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
AS_3_AND_4 = """
import fcntl, os, sys
ours, theirs = (fcntl.fcntl(int(end), fcntl.F_DUPFD_CLOEXEC, 10) for end in sys.argv[1:3])
os.dup2(ours, 3), os.dup2(theirs, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""  # file descriptors of a browser's debugging pipe
SCRIPT = """<script>onload = () => {
const all = [...document.images], wide = document.documentElement;
const asked = performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:'));
document.title = 'shown ' + all.filter(i => i.complete && i.naturalWidth > 0).length
  + ' of ' + all.length + ', requests ' + asked.length
  + ', overflow ' + Math.max(0, wide.scrollWidth - wide.clientWidth);
}</script></body>"""


def find() -> str | None:
    """Return the path of the browser; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def verdict(page: Path, folder: Path) -> tuple[int, int, int, int]:
    """Return loaded pictures, pictures, requests, and pixels by which the page is too wide.

    A script in a copy of the page counts them; copy and profile go into `folder`, which is empty.
    """
    copy = folder / "copy.html"
    copy.write_text(page.read_text("utf-8").replace("</body>", SCRIPT), "utf-8")
    command = [find(), *FLAGS, f"--user-data-dir={folder / 'profile'}", "--window-size=1100,900"]
    shown = subprocess.run(
        [*command, "--virtual-time-budget=20000", "--dump-dom", copy.as_uri()],
        capture_output=True, text=True, timeout=300, check=True,
    ).stdout  # fmt: skip
    match = re.search(r"<title>shown (\d+) of (\d+), requests (\d+), overflow (\d+)</title>", shown)
    assert match, shown[:500]
    loaded, pictures, requests, overflow = map(int, match.groups())
    return loaded, pictures, requests, overflow


class Tab:
    """A page in a browser, controlled by its debugging pipe (Chrome DevTools Protocol).

    Parameters
    ----------
    folder :
        Gets the profile.
    """

    def __init__(self, folder: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()  # from us to the browser, and back
        flags = [*FLAGS, "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        ends = (ours[0], theirs[1])
        self._process = subprocess.Popen(
            [sys.executable, "-c", AS_3_AND_4, *map(str, ends), str(find()), *flags],
            pass_fds=ends, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(ours[0])
        os.close(theirs[1])
        self._out, self._in = os.fdopen(ours[1], "wb", 0), os.fdopen(theirs[0], "rb", 0)
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._id, self._session = 0, ""
        self.errors: list[str] = []
        self.requests: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def _listen(self) -> None:
        rest = b""
        while piece := self._in.read(65536):
            *whole, rest = (rest + piece).split(b"\0")
            for text in whole:
                self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        about, method = message.get("params", {}), message.get("method")
        if "id" in message:
            self._answers.put(message)
        elif method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(about["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            self.errors.append(json.dumps(about["args"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.errors.append(about["entry"]["text"] + " " + about["entry"].get("url", ""))

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol; return its result."""
        self._id += 1
        message: dict[str, Any] = {"id": self._id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while (answer := self._answers.get(timeout=300))["id"] != self._id:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def run(self, expression: str) -> Any:
        """Evaluate an expression, await it and return its value."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def look(self, width: int, height: int, scheme: str = "light", phone: bool = False) -> None:
        """Set the size of the window and the preferred colour scheme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=phone)  # fmt: skip
        prefers = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=prefers)

    def go(self, url: str) -> None:
        """Open an address."""
        self.call("Page.navigate", url=url)

    def press(self, name: str, code: int) -> None:
        """Press and release one key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name,
                      windowsVirtualKeyCode=code)  # fmt: skip

    def picture(self, path: Path) -> None:
        """Write the whole page as PNG."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        """End the browser."""
        self._out.close()
        self._process.terminate()
        self._process.wait(300)
