"""Test downloads over HTTPS: verified, resumed, and limited in size."""

import http.server
import ssl
import tarfile
import threading

import pytest
from tests.support.bundles import version
from tests.support.certificates import Authority
from tests.support.rig import BUNDLE, edge, station_toml

from epithermal_edge.config.station_toml import Trust
from epithermal_edge.errors import BundleError, ConfigError
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.rollout import download, rollout


class Server(http.server.ThreadingHTTPServer):
    """HTTPS server of one content, with Range; it can break off."""

    def __init__(self, authority):
        super().__init__(("127.0.0.1", 0), Handler)
        cert, key = authority.issue("localhost", "DNS:localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.address = f"https://localhost:{self.server_port}"
        self.content, self.tag = b"", '"1"'
        self.breaks_after = []  # bytes of each incomplete answer; later answers are complete
        self.asked = []  # Range of each request
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Ignore clients that reject the certificate."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{server.server_port}/bundle.tar")
            self.end_headers()
            return
        if self.path == "/none":
            self.send_error(404)
            return
        goes_on = asked and self.headers.get("If-Range") == server.tag
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if goes_on else 0
        body = server.content[begin:]
        self.send_response(206 if goes_on else 200)
        self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(body)))
        if goes_on:
            total = len(server.content)
            self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
        self.end_headers()
        self.wfile.write(body[: server.breaks_after.pop(0)] if server.breaks_after else body)

    def log_message(self, *_):
        """Log nothing."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def server(authority, tmp_path):
    found = Server(authority)
    path = tmp_path / "bundle.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(BUNDLE, "bucket-0.1.0")
    found.content = path.read_bytes()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def pull(server, authority, tmp_path):
    """Download from the server without pauses; `lines` holds the progress."""
    lines = []

    def act(path="/bundle.tar", ca=authority.ca):
        (tmp_path / "models").mkdir(exist_ok=True)
        return download.pull(
            server.address + path, tmp_path / "models", ca, lines.append, lambda _s: None
        )

    act.lines = lines
    return act


def test_an_interrupted_download_is_resumed_in_the_same_call(server, pull):
    server.breaks_after = [10_000, 25_000]
    assert pull().read_bytes() == server.content
    assert server.asked == [None, "bytes=10000-", "bytes=35000-"]
    assert "broke off at 10000 of" in pull.lines[0]


def test_a_failed_download_is_resumed_by_the_next_command(server, pull, tmp_path):
    server.breaks_after = [9_000, 0, 0, 0, 0]
    with pytest.raises(download.BrokenOffError, match="same command again"):
        pull()
    server.asked.clear()
    assert pull().read_bytes() == server.content
    assert server.asked == ["bytes=9000-"]
    assert [p.suffix for p in (tmp_path / "models" / ".download").iterdir()] == [".tar"]


def test_a_content_that_has_changed_is_downloaded_from_the_start(server, pull):
    server.breaks_after = [9_000, 0, 0, 0, 0]
    with pytest.raises(download.BrokenOffError):
        pull()
    server.content, server.tag = server.content[::-1], '"2"'
    assert pull().read_bytes() == server.content


def test_a_certificate_of_an_unknown_authority_is_refused(server, pull):
    with pytest.raises(ConfigError, match="--ca"):
        pull(ca=None)
    assert server.asked == []


def test_only_https_is_accepted_also_after_a_redirect(server, pull, tmp_path):
    with pytest.raises(ConfigError, match="only https"):
        download.pull("http://localhost/x.tar", tmp_path, None, print)
    with pytest.raises(BundleError, match="not https"):
        pull("/away")


def test_a_missing_or_too_large_file_is_reported_and_not_stored(
    server, pull, tmp_path, monkeypatch
):
    with pytest.raises(BundleError, match="status 404"):
        pull("/none")
    monkeypatch.setattr(download, "MAX_BYTES", 50_000)
    with pytest.raises(BundleError, match="too large"):
        pull()
    assert list((tmp_path / "models" / ".download").iterdir()) == []


def test_the_command_installs_from_an_address(server, authority, tmp_path):
    bundle = tmp_path / "models" / "current"
    toml = station_toml(tmp_path, bundle=bundle, model="unsigned = true\n")
    address = f"{server.address}/bundle.tar"
    done = edge("model", "install", toml, address, "--ca", authority.ca, "--sha256", "0" * 64)
    assert done.returncode == 3 and "not the expected one" in done.stderr and not bundle.exists()
    done = edge("model", "install", toml, address, "--ca", authority.ca)
    assert done.returncode == 0, done.stderr
    assert open_bundle(bundle).version == "0.1.0"
    assert list((bundle.parent / ".download").iterdir()) == []


def test_a_pulled_bundle_that_is_damaged_changes_nothing(server, pull, tmp_path):
    folder = tmp_path / "models"
    rollout.install(folder, version(tmp_path, "0.2.0"), rollout.Request(Trust(unsigned=True)))
    at = server.content.index(b"TFL3") + 500
    server.content = server.content[:at] + b"?" + server.content[at + 1 :]
    request = rollout.Request(Trust(unsigned=True), pulled=True)
    with pytest.raises(BundleError, match=r"model\.tflite"):
        rollout.install(folder, pull(), request)
    assert open_bundle(folder / "current").version == "0.2.0"
