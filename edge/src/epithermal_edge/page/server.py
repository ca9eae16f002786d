"""The station's page: read-only, in a thread of its own, for browsers on the spot.

It reads what the station leaves on the disk and shares nothing with it but the process. It answers
GET of the few names below and nothing else; connections are few and cannot stay silent.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any

from epithermal_edge.config.station_toml import Config, Page
from epithermal_edge.errors import EpithermalError
from epithermal_edge.page import data as page_data

CONNECTIONS = 12  # at once; more are turned away
LISTENERS = 6  # of these, for events
PATIENCE_S = 10.0  # for a request, and for whoever does not take an answer
LOOK_S = 1.0  # between two looks at the disk, however many look
HEARTBEAT_S = 15.0
POLL_S = 0.5  # how soon the end is noticed
RETRY_S = 30.0  # before an address that cannot be had is asked for again
LOCAL = (".local", ".lan", ".home", ".home.arpa", ".internal", ".localdomain", ".fritz.box")

FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/chart.js": ("chart.js", "text/javascript; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FOLDER = Path(__file__).parent

log = logging.getLogger(__name__)


class Kept:
    """An answer that is made anew when its key has changed, for all who ask together."""

    def __init__(self, make: Callable[[], Any], key: Callable[[], object], each_s: float) -> None:
        self._make, self._key, self._each_s = make, key, each_s
        self._lock = threading.Lock()
        self._looked = -1e9
        self._made_for: object = self  # equals no key
        self._body, self._fault = b"", ""
        self.version = 0

    def get(self) -> tuple[int, bytes]:
        """A number that grows with each new answer, and the answer as JSON.

        Raises
        ------
        EpithermalError
            It cannot be made.
        """
        with self._lock:
            if time.monotonic() - self._looked >= self._each_s:
                self._look()
                self._looked = time.monotonic()
            if self._fault:
                raise EpithermalError(self._fault)
            return self.version, self._body

    def _look(self) -> None:
        try:
            key = self._key()
            if key != self._made_for or self._fault:
                text = json.dumps(self._make(), separators=(",", ":"), allow_nan=False)
                self._body, self._made_for, self._fault = text.encode(), key, ""
                self.version += 1
        except EpithermalError as error:
            self._fault = str(error)


class Server(ThreadingMixIn, HTTPServer):
    """Listens, with a thread for each of a few connections."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, config: Config, settings: Page, stopping: threading.Event) -> None:
        if ":" in settings.listen:
            self.address_family = socket.AF_INET6
        self.free = threading.BoundedSemaphore(CONNECTIONS)
        self.listeners = threading.BoundedSemaphore(LISTENERS)
        self.stopping = stopping
        self.timeout = POLL_S
        wall = time.time
        self.now = Kept(
            lambda: page_data.now(config, wall()),
            lambda: (page_data.key(config), wall() // 60.0),  # what is silent grows older
            LOOK_S,
        )
        self.history = Kept(
            lambda: page_data.history(config, wall()),
            lambda: page_data.newest_window(config),
            0.0,  # a page asks once a window: an older answer would stay on its chart for an hour
        )
        super().__init__((settings.listen, settings.port), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for it, or a word of refusal that nobody waits for."""
        if not self.free.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.setblocking(False)
                request.send(b"HTTP/1.0 503 Busy\r\nRetry-After: 10\r\n\r\n")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except Exception:  # no thread can be had
            self.free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The thread's body."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def server_bind(self) -> None:
        """Without http.server's question to the name server."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever went away is no event; the rest is a fault of the software."""
        if isinstance(sys.exc_info()[1], OSError):
            log.debug("%s went away", client_address)
        else:
            log.exception("page: a request of %s failed", client_address)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    timeout = PATIENCE_S

    def do_GET(self) -> None:
        """A file, a state as JSON, or the stream of states."""
        name = self.path.partition("?")[0]
        if not self._is_meant():
            self._answer(421, "text/plain", b"not this station\n")
        elif name in FILES:
            file, kind = FILES[name]
            self._answer(200, kind, (FOLDER / file).read_bytes())
        elif name in ("/now.json", "/history.json"):
            self._tell(self.server.now if name == "/now.json" else self.server.history)
        elif name == "/events":
            self._listen()
        else:
            self._answer(404, "text/plain", b"no such page\n")

    def do_HEAD(self) -> None:
        """The same without its body."""
        self.do_GET()

    def _is_meant(self) -> bool:
        """Whether the Host is an address or this machine's: a name of somebody else's is not."""
        host = (self.headers.get("Host") or "").lower()
        host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host)
            return True
        here = socket.gethostname().lower().partition(".")[0]
        return host in ("localhost", here, *(here + suffix for suffix in LOCAL))

    def _tell(self, kept: Kept) -> None:
        try:
            _, body = kept.get()
        except EpithermalError as error:
            self._answer(503, "text/plain; charset=utf-8", f"{error}\n".encode())
            return
        self._answer(200, "application/json", body)

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response_only(code)
        self._send_headers(kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_headers(self, kind: str) -> None:
        self.send_header("Content-Type", kind)
        for name, value in HEADERS.items():
            self.send_header(name, value)

    def _listen(self) -> None:
        """Each new state as an event, until the listener is gone or does not take it."""
        if self.command == "HEAD" or not self.server.listeners.acquire(blocking=False):
            self._answer(503, "text/plain", b"enough listeners\n")
            return
        try:
            self.send_response_only(200)
            self._send_headers("text/event-stream")
            self.end_headers()
            self.wfile.write(b"retry: 3000\n\n")
            for text in self._events():
                self.wfile.write(text)
        finally:
            self.server.listeners.release()

    def _events(self) -> Iterator[bytes]:
        sent, said = 0, time.monotonic()
        while not self.server.stopping.is_set():
            try:
                version, body = self.server.now.get()
            except EpithermalError as error:
                log.debug("nothing to show: %s", error)
                version, body = sent, b""
            if version != sent:
                sent, said = version, time.monotonic()
                yield b"event: now\ndata: " + body + b"\n\n"
            elif time.monotonic() - said > HEARTBEAT_S:
                said = time.monotonic()
                yield b": here\n\n"
            self.server.stopping.wait(LOOK_S)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not the station's events."""
        log.debug(format, *args)


class PageThread(threading.Thread):
    """Serves the page until it is told to stop; whatever goes wrong stays in here."""

    def __init__(self, config: Config, settings: Page) -> None:
        super().__init__(name="page", daemon=True)
        self._config, self._settings = config, settings
        self._stopping = threading.Event()

    def run(self) -> None:
        """The thread's body."""
        where, told = f"{self._settings.listen} port {self._settings.port}", ""
        while not self._stopping.is_set():
            try:
                with Server(self._config, self._settings, self._stopping) as server:
                    log.info("page: on %s", where)
                    while not self._stopping.is_set():
                        server.handle_request()
            except OSError as error:  # the address is another's, or not there yet
                if str(error) != told:
                    log.warning("page: %s: %s; again each %.0f s", where, error, RETRY_S)
                told = str(error)
                self._stopping.wait(RETRY_S)

    def stop(self) -> None:
        """End it; the listeners hear nothing more."""
        self._stopping.set()
        self.join(PATIENCE_S)


@contextlib.contextmanager
def serving(config: Config, settings: Page) -> Iterator[None]:
    """The page while the station runs."""
    thread = PageThread(config, settings)
    thread.start()
    try:
        yield
    finally:
        thread.stop()
