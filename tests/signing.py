"""Whoever may command: a key pair, and commands signed with it, all by OpenSSL."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import time
from datetime import UTC, datetime


def stamp(unix_s):
    """Seconds, UTC, Z."""
    return datetime.fromtimestamp(int(unix_s), UTC).isoformat().replace("+00:00", "Z")


class Signer:
    """A key pair in a folder; `public` is what goes into station.toml."""

    def __init__(self, folder, name="command"):
        self.secret, self.public = folder / f"{name}.pem", folder / f"{name}.pub"
        self._openssl("genpkey", "-algorithm", "ed25519", "-out", self.secret)
        self._openssl("pkey", "-in", self.secret, "-pubout", "-out", self.public)
        self._scratch = folder / f"{name}.bytes"

    def _openssl(self, *arguments):
        done = subprocess.run(
            ["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=20
        )
        return done.stdout

    def sign(self, data):
        self._scratch.write_bytes(data)
        return self._openssl(
            "pkeyutl", "-sign", "-rawin", "-inkey", self.secret, "-in", self._scratch
        )

    def command(self, verb="ping", *, station="test-1", topic=None, left_s=600.0, **fields):
        """Payload of a good command, or of one with other fields than it should have."""
        body = json.dumps(
            {
                "station": station,
                "verb": verb,
                "nonce": secrets.token_hex(16),
                "expires": stamp(time.time() + left_s),
                **fields,
            }
        )
        topic = topic or f"crns/v1/{station}/cmd/{verb}"
        return envelope(body, self.sign(f"epithermal-command-v1\n{topic}\n{body}".encode()))


def envelope(body, signature):
    """What goes over the wire."""
    sig = base64.b64encode(signature).decode()
    return json.dumps({"v": 1, "body": body, "sig": sig}).encode()
