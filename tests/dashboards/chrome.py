"""A dashboard in headless Chromium, and the folder that it is served from."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import time

from tests.support import browser
from tests.support.rig import wait_until


class Page(browser.Tab):
    """One page, waited for."""

    def __init__(self, folder):
        self._loaded = 0
        super().__init__(folder / "profile")

    def _take(self, message):
        what = message.get("method")
        if what == "Network.webSocketCreated":
            self.requests.append(message["params"]["url"])
        elif what == "Page.loadEventFired":
            self._loaded += 1
        super()._take(message)

    def open(self, url):
        """Go there and wait until it has loaded."""
        before = self._loaded
        self.go(url)
        wait_until(lambda: self._loaded > before, 30, url)

    def text(self, selector):
        """Text of the first element; None where there is none."""
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? null")

    def until(self, expression, seconds=20.0):
        """Wait until it is true."""
        wait_until(lambda: self.run(expression), seconds, expression)

    def resize(self, width, height, scheme="light"):
        """Another size and colour scheme; a phone below 600 px."""
        self.look(width, height, scheme, width < 600)
        time.sleep(0.6)  # a page draws anew after a moment

    def overflow(self):
        """Pixels that the page is too wide."""
        return self.run(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )


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
