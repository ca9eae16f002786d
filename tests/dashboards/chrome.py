"""A page in headless Chromium, driven over its debugging pipe: no driver, no port."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import os
import subprocess
import threading
import time

from tests import browser
from tests.rig import PATIENCE, wait_until


class Page:
    """One page; it keeps its console's errors and the addresses that were asked for."""

    def __init__(self, folder):
        ours, theirs = os.pipe(), os.pipe()  # commands to it, answers from it
        command = [browser.find(), *browser.FLAGS, f"--user-data-dir={folder / 'profile'}"]
        pipes = f'exec "$@" 3<&{ours[0]} 4>&{theirs[1]}'
        self._process = subprocess.Popen(
            ["bash", "-c", pipes, "chromium", *command, "--remote-debugging-pipe", "about:blank"],
            pass_fds=(ours[0], theirs[1]), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(ours[0])
        os.close(theirs[1])
        self._out, self._in = os.fdopen(ours[1], "wb", 0), os.fdopen(theirs[0], "rb")
        self._number, self._answers, self._session = 0, {}, None
        self.errors, self.asked, self.loaded = [], [], 0
        threading.Thread(target=self._listen, daemon=True).start()
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def _listen(self):
        told = b""
        while chunk := self._in.read1(65536):
            *whole, told = (told + chunk).split(b"\0")
            for text in whole:
                self._take(json.loads(text))

    def _take(self, message):
        what, more = message.get("method"), message.get("params", {})
        if "id" in message:
            self._answers[message["id"]] = message
        elif what == "Runtime.exceptionThrown":
            self.errors.append(more["exceptionDetails"]["exception"].get("description"))
        elif what == "Runtime.consoleAPICalled" and more["type"] == "error":
            self.errors.append(str(more["args"]))
        elif what == "Log.entryAdded" and more["entry"]["level"] == "error":
            self.errors.append(more["entry"]["text"])
        elif what == "Network.requestWillBeSent":
            self.asked.append(more["request"]["url"])
        elif what == "Network.webSocketCreated":
            self.asked.append(more["url"])
        elif what == "Page.loadEventFired":
            self.loaded += 1

    def call(self, method, **parameters):
        """A command of the DevTools protocol and its answer."""
        self._number += 1
        number, message = self._number, {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        wait_until(lambda: number in self._answers, 30, method)
        answer = self._answers.pop(number)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, url):
        """Go there and wait until it has loaded."""
        before = self.loaded
        self.call("Page.navigate", url=url)
        wait_until(lambda: self.loaded > before, 30, url)

    def value(self, expression):
        """What JavaScript says."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def text(self, selector):
        """Text of the first element; None where there is none."""
        return self.value(f"document.querySelector({json.dumps(selector)})?.innerText ?? null")

    def until(self, expression, seconds=20.0):
        """Wait until it is true."""
        wait_until(lambda: self.value(expression), seconds, expression)

    def look(self, width, height, scheme="light"):
        """Another size and colour scheme; a phone below 600 px."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        time.sleep(0.6)  # a resize draws anew after a moment

    def screenshot(self, file):
        """The page as it is seen."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def overflow(self):
        """Pixels that the page is too wide."""
        return self.value(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )

    def close(self):
        self._process.terminate()
        self._process.wait(20 * PATIENCE)
        self._out.close()


class Site:
    """A folder over HTTP, as a web server would give it."""

    def __init__(self, folder):
        handler = functools.partial(Quiet, directory=folder)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Does not log."""

    def log_message(self, *_):
        pass
