"""Sign commands and bundles with a key pair, by OpenSSL."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import subprocess
import time
from datetime import UTC, datetime


def stamp(unix_s):
    """Format a Unix time in whole seconds, UTC with Z."""
    return datetime.fromtimestamp(int(unix_s), UTC).isoformat().replace("+00:00", "Z")


class Signer:
    """A key pair in a folder; station.toml names `public`."""

    def __init__(self, folder, name="command"):
        self.secret, self.public = folder / f"{name}.pem", folder / f"{name}.pub"
        self._openssl("genpkey", "-algorithm", "ed25519", "-out", self.secret)
        self._openssl("pkey", "-in", self.secret, "-pubout", "-out", self.public)
        self._scratch = folder / f"{name}.bytes"

    def _openssl(self, *arguments):
        done = subprocess.run(
            ["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=300
        )
        return done.stdout

    def sign(self, data):
        self._scratch.write_bytes(data)
        return self._openssl(
            "pkeyutl", "-sign", "-rawin", "-inkey", self.secret, "-in", self._scratch
        )

    def command(self, verb="ping", *, station="test-1", topic=None, left_s=600.0, **fields):
        """Return the payload of a valid command, or of one with changed fields."""
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
    """Return the payload with body and signature."""
    sig = base64.b64encode(signature).decode()
    return json.dumps({"v": 1, "body": body, "sig": sig}).encode()


class Minisigner(Signer):
    """A signer in the format of minisign, by OpenSSL; model.keys contains `line`."""

    def __init__(self, folder, name="bundles"):
        super().__init__(folder, name)
        der = base64.b64decode("".join(self.public.read_text().splitlines()[1:-1]))
        self.key_id = secrets.token_bytes(8)
        self.line = base64.b64encode(b"Ed" + self.key_id + der[-32:]).decode()

    def signature(self, content, comment="a test", form=b"ED"):
        """Return the signature file of a content."""
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
