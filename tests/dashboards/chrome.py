"""Load a dashboard in headless Chromium, and serve its folder."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import time

from tests.support import browser
from tests.support.rig import wait_until


class Page(browser.Tab):
    """A page, with functions that wait for its content."""

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
        """Load a page and wait until it has loaded."""
        before = self._loaded
        self.go(url)
        wait_until(lambda: self._loaded > before, url)

    def text(self, selector):
        """Return the text of the first element; None if there is none."""
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? null")

    def until(self, expression):
        """Wait until an expression is true."""
        wait_until(lambda: self.run(expression), expression)

    def resize(self, width, height, scheme="light"):
        """Set size and colour scheme; below 600 px as a phone."""
        self.look(width, height, scheme, width < 600)
        time.sleep(0.6)  # a page redraws with a delay

    def overflow(self):
        """Return by how many pixels the page exceeds the window."""
        return self.run(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )


class Site:
    """A web server of a folder."""

    def __init__(self, folder):
        handler = functools.partial(Quiet, directory=folder)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A request handler that does not log."""

    def log_message(self, *_):
        pass
