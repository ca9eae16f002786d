"""Make a certificate authority for one test with OpenSSL."""

from __future__ import annotations

import subprocess


class Authority:
    """A certificate authority; both sides trust `ca`."""

    def __init__(self, folder, name="ca"):
        self._folder, self._name = folder, name
        self.ca = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        openssl("req", "-x509", *EC, "-keyout", self._key, "-out", self.ca, "-days", "2",
                "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip

    def issue(self, name, alternative=None):
        """Issue certificate and key of a server (with its address as alternative) or a client."""
        stem = self._folder / f"{self._name}-{name}"
        cert, key, request = (stem.with_suffix(s) for s in (".pem", ".key", ".csr"))
        openssl("req", *EC, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        extensions = stem.with_suffix(".ext")
        extensions.write_text(
            IDENTIFIERS + (f"subjectAltName={alternative}\n" if alternative else "")
        )
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key,
                "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", cert)  # fmt: skip
        return cert, key


IDENTIFIERS = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
"""Python 3.13 verifies strictly by RFC 5280 and requires these."""

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=300)
