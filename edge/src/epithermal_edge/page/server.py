"""Serve the station's page to browsers on the local network: read-only, in its own threads.

The page reads the station's files and shares only the process with the measurement. The server
answers GET and HEAD of the paths below; the number of connections and their silence are limited.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any

from epithermal_edge.config.station_toml import Config, Page
from epithermal_edge.errors import EpithermalError
from epithermal_edge.page import data

CONNECTIONS = 12  # at the same time; the server rejects more
LISTENERS = 6  # connections of these that may be event streams
TIMEOUT_S = 10.0  # for a client to send a whole request or to accept an answer
CHECK_S = 1.0  # between two checks of the files, for all clients together
HEARTBEAT_S = 15.0  # longest silence of an event stream
POLL_S = 0.5  # between two checks whether the server must stop
RETRY_S = 30.0  # before the next attempt to use an address
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
BUSY = "\r\n".join(
    ["HTTP/1.0 503 Busy", "Retry-After: 10", *(f"{k}: {v}" for k, v in HEADERS.items()), "", ""]
).encode()
FOLDER = Path(__file__).parent

log = logging.getLogger(__name__)


class CachedAnswer:
    """Answer shared by all clients, computed again when its key has changed.

    Parameters
    ----------
    compute :
        Returns the answer's data.
    key :
        Returns a value that differs when the data have changed; cheap.
    each_s : [s]
        Shortest time between two calls of `key`.
    """

    def __init__(
        self, compute: Callable[[], Any], key: Callable[[], object], each_s: float
    ) -> None:
        self._compute, self._key, self._each_s = compute, key, each_s
        self._lock = threading.Lock()
        self._checked_s = -1e9
        self._computed_for: object = self  # equals no key
        self._body, self._fault = b"", ""
        self.version = 0

    def get(self) -> tuple[int, bytes]:
        """Return a version, which grows with each new answer, and the answer as JSON.

        Raises
        ------
        EpithermalError
            The answer cannot be computed.
        """
        with self._lock:
            if time.monotonic() - self._checked_s >= self._each_s:
                self._update()
                self._checked_s = time.monotonic()
            if self._fault:
                raise EpithermalError(self._fault)
            return self.version, self._body

    def _update(self) -> None:
        try:
            key = self._key()
            if key != self._computed_for or self._fault:
                text = json.dumps(self._compute(), separators=(",", ":"), allow_nan=False)
                self._body, self._computed_for, self._fault = text.encode(), key, ""
                self.version += 1
        except EpithermalError as error:
            self._fault = str(error)


class Server(ThreadingMixIn, HTTPServer):
    """HTTP server with a thread for each of a limited number of connections."""

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
        self.now = CachedAnswer(
            lambda: data.current(config, wall()),
            lambda: (data.files_key(config), wall() // 60.0),  # the state depends on the time too
            CHECK_S,
        )
        self.history = CachedAnswer(
            lambda: data.past(config, wall()),
            lambda: data.newest_window(config),
            0.0,  # a page asks once per window: an older answer would stay on its chart for an hour
        )
        super().__init__((settings.listen, settings.port), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for the request; answer 503 without waiting if there are too many."""
        if not self.free.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.setblocking(False)
                request.send(BUSY)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except Exception:  # the thread cannot be started
            self.free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handle the request in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def server_bind(self) -> None:
        """Bind the address, without the name server query of http.server."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error: at level debug if the client has disconnected, else with traceback."""
        if isinstance(sys.exc_info()[1], OSError):
            log.debug("%s disconnected", client_address)
        else:
            log.exception("page: a request of %s failed", client_address)


class Patience(io.RawIOBase):
    """A socket's bytes until a deadline: a client that sends slowly does not extend it.

    Parameters
    ----------
    timeout_s : [s]
        From now to the deadline, for all reads together.
    """

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection, self._timeout_s = connection, timeout_s
        self._until_s = time.monotonic() + timeout_s

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into the buffer; return the number of bytes, 0 at the end.

        Raises
        ------
        TimeoutError
            The deadline has passed.
        """
        left_s = self._until_s - time.monotonic()
        if left_s <= 0.0:
            raise TimeoutError("the request is too slow")
        self._connection.settimeout(left_s)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._timeout_s)


class Handler(BaseHTTPRequestHandler):
    """Handler of one request."""

    server: Server
    timeout = TIMEOUT_S
    default_request_version = "HTTP/1.0"  # of a malformed request: 0.9 has no headers

    def setup(self) -> None:
        """Set a deadline for the request as a whole."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(Patience(self.connection, self.timeout))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer an error of http.server as any other request; do not repeat what was sent."""
        self.log_error("%d %s", code, message or "")
        self.close_connection = True
        self._answer(code, "text/plain", f"{HTTPStatus(code).phrase}\n".encode())

    def do_GET(self) -> None:
        """Send a file, the state or the history as JSON, or the stream of events."""
        name = self.path.partition("?")[0]
        if not self._names_this_machine():
            self._answer(421, "text/plain", b"wrong host name\n")
        elif name in FILES:
            file, kind = FILES[name]
            self._answer(200, kind, (FOLDER / file).read_bytes())
        elif name in ("/now.json", "/history.json"):
            self._send_json(self.server.now if name == "/now.json" else self.server.history)
        elif name == "/events":
            self._send_events()
        else:
            self._answer(404, "text/plain", b"no such page\n")

    def do_HEAD(self) -> None:
        """Send the headers of `do_GET`."""
        self.do_GET()

    def _names_this_machine(self) -> bool:
        """Check that the Host header is an address or a name of this machine: no DNS rebinding."""
        host = (self.headers.get("Host") or "").lower()
        host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host)
            return True
        here = socket.gethostname().lower().partition(".")[0]
        return host in ("localhost", here, *(here + suffix for suffix in LOCAL))

    def _send_json(self, answer: CachedAnswer) -> None:
        try:
            _, body = answer.get()
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

    def _send_events(self) -> None:
        """Send each new state as an event until the client disconnects or is too slow."""
        if self.command == "HEAD" or not self.server.listeners.acquire(blocking=False):
            self._answer(503, "text/plain", b"too many listeners\n")
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
        sent_version, sent_s = 0, time.monotonic()
        while not self.server.stopping.is_set():
            try:
                version, body = self.server.now.get()
            except EpithermalError as error:
                log.debug("no state for the page: %s", error)
                version, body = sent_version, b""
            if version != sent_version:
                sent_version, sent_s = version, time.monotonic()
                yield b"event: now\ndata: " + body + b"\n\n"
            elif time.monotonic() - sent_s > HEARTBEAT_S:
                sent_s = time.monotonic()
                yield b": heartbeat\n\n"
            self.server.stopping.wait(CHECK_S)

    def log_message(self, format: str, *args: Any) -> None:
        """Log a request at level debug."""
        log.debug(format, *args)


class PageThread(threading.Thread):
    """Thread that serves the page until `stop`; its errors do not reach the station."""

    def __init__(self, config: Config, settings: Page) -> None:
        super().__init__(name="page", daemon=True)
        self._config, self._settings = config, settings
        self._stopping = threading.Event()

    def run(self) -> None:
        """Serve the page; while its address is not available, try again."""
        where, reported = f"{self._settings.listen} port {self._settings.port}", ""
        while not self._stopping.is_set():
            try:
                with Server(self._config, self._settings, self._stopping) as server:
                    log.info("page: on %s", where)
                    while not self._stopping.is_set():
                        server.handle_request()
            except OSError as error:  # in use by another program, or not configured yet
                if str(error) != reported:
                    log.warning("page: %s: %s; retry every %.0f s", where, error, RETRY_S)
                reported = str(error)
                self._stopping.wait(RETRY_S)

    def stop(self) -> None:
        """Stop serving and end the event streams."""
        self._stopping.set()
        self.join(TIMEOUT_S)


@contextlib.contextmanager
def serve(config: Config, settings: Page) -> Iterator[PageThread]:
    """Serve the page in a thread for the duration of the context; yield the thread."""
    thread = PageThread(config, settings)
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()
