"""Run a web server like NMDB's NEST on localhost, over TLS."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Return a self-signed certificate of localhost and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return cert, key


class Nest:
    """A web server on a free port of localhost whose answer the test sets."""

    def __init__(self, certificate: tuple[Path, Path], body: bytes) -> None:
        self.body = body
        self.code = 200
        self.location: str | None = None
        self.drip_s = 0.0
        self.asked: list[str] = []
        self.sent_bytes = 0
        nest = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                nest.asked.append(self.path)
                self.send_response(nest.code)
                if nest.location:
                    self.send_header("Location", nest.location)
                self.end_headers()
                with contextlib.suppress(OSError):
                    size = 100 if nest.drip_s else len(nest.body)
                    for k in range(0, len(nest.body), size):
                        self.wfile.write(nest.body[k : k + size])
                        self.wfile.flush()
                        nest.sent_bytes += size
                        time.sleep(nest.drip_s)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}/nest/draw_graph.php"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
