"""Whoever may command: a key pair, and commands signed with it, all by OpenSSL."""

from __future__ import annotations

import base64
import hashlib
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


class Minisigner(Signer):
    """Signs bundles as minisign does, by OpenSSL; `line` is what goes into model.keys."""

    def __init__(self, folder, name="bundles"):
        super().__init__(folder, name)
        der = base64.b64decode("".join(self.public.read_text().splitlines()[1:-1]))
        self.key_id = secrets.token_bytes(8)
        self.line = base64.b64encode(b"Ed" + self.key_id + der[-32:]).decode()

    def signature(self, content, comment="a test", form=b"ED"):
        """The signature file of a content."""
        signed = self.sign(hashlib.blake2b(content).digest())
        seal = self.sign(signed + comment.encode())
        first, second = (base64.b64encode(x).decode() for x in (form + self.key_id + signed, seal))
        text = f"untrusted comment: x\n{first}\ntrusted comment: {comment}\n{second}\n"
        return text.encode()

    def sign_bundle(self, path):
        """Sign a bundle's MANIFEST."""
        content = (path / "MANIFEST").read_bytes()
        (path / "MANIFEST.minisig").write_bytes(self.signature(content))
        return path
