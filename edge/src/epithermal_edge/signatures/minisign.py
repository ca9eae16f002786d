"""Verify signatures in the format of minisign against the trusted keys.

A station verifies and never signs. Only the prehashed form (`ED`, the default since minisign 0.11)
is accepted: Ed25519 over the BLAKE2b-512 hash of the content, and a second signature over the first
one and the trusted comment.

References
----------
F. Denis, minisign, https://jedisct1.github.io/minisign/, "Signature format", "Public key format".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from epithermal_edge.errors import BundleError, ConfigError
from epithermal_edge.signatures import ed25519

SUFFIX = ".minisig"
MAX_BYTES = 8192  # of a signature file; minisign itself limits a comment to 8192
KEY_FORM, LEGACY, PREHASHED = b"Ed", b"Ed", b"ED"
UNTRUSTED, TRUSTED = "untrusted comment: ", "trusted comment: "


class UnknownKeyError(BundleError):
    """The signature is of a key that is not trusted."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A trusted public key."""

    key_id: bytes  # 8 bytes
    key: bytes  # 32 bytes

    @property
    def name(self) -> str:
        """Key id as minisign prints it."""
        return self.key_id[::-1].hex().upper()


@dataclass(frozen=True, slots=True)
class Signature:
    """A parsed signature file, not verified yet."""

    form: bytes
    key_id: bytes
    signature: bytes
    comment: str  # the trusted comment
    seal: bytes  # signature over signature and comment


def parse_public_key(text: str) -> PublicKey:
    """Parse a public key: the second line of a .pub file, `RW` and 54 more characters.

    Raises
    ------
    ConfigError
        The text is not a public key.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != 42 or raw[:2] != KEY_FORM or ed25519.is_weak(raw[10:]):
        raise ConfigError(f"{text[:60]!r} is no minisign public key; use the line RW... of a .pub")
    return PublicKey(raw[2:10], raw[10:])


def parse(content: bytes) -> Signature:
    """Parse a signature file.

    Raises
    ------
    BundleError
        The content does not have the documented format.
    """
    try:
        if len(content) > MAX_BYTES:
            raise ValueError("too long")
        lines = content.decode("utf-8").split("\n")
        if len(lines) != 5 or lines[4] or not lines[0].startswith(UNTRUSTED):
            raise ValueError("not four lines")
        if not lines[2].startswith(TRUSTED):
            raise ValueError("no trusted comment")
        raw, seal = (base64.b64decode(lines[i], validate=True) for i in (1, 3))
    except ValueError as fault:  # UnicodeDecodeError and binascii.Error are ValueErrors
        raise BundleError(f"not a minisign signature ({fault})") from fault
    if len(raw) != 74 or len(seal) != 64 or raw[:2] not in (LEGACY, PREHASHED):
        raise BundleError("not a minisign signature (wrong length or algorithm)")
    return Signature(raw[:2], raw[2:10], raw[10:], lines[2].removeprefix(TRUSTED), seal)


def verify(content: bytes, signature_file: bytes, trusted: Iterable[PublicKey]) -> PublicKey:
    """Verify the signature of a content and return the trusted key that signed it.

    Parameters
    ----------
    content :
        The signed bytes.
    signature_file :
        Content of the .minisig file.
    trusted :
        Keys that are accepted.

    Raises
    ------
    UnknownKeyError
        The signature is of a key that is not trusted.
    BundleError
        The file is no signature, or the signature of a trusted key does not fit the content.
    """
    signature = parse(signature_file)
    keys = [key for key in trusted if key.key_id == signature.key_id]
    if not keys:
        name = signature.key_id[::-1].hex().upper()
        raise UnknownKeyError(f"signed with key {name}, which is not in model.keys")
    if signature.form != PREHASHED:
        raise BundleError("signed in minisign's legacy form: sign again without -l")
    digest = hashlib.blake2b(content).digest()
    sealed = signature.signature + signature.comment.encode()
    for key in keys:
        try:
            if ed25519.verify(key.key, digest, signature.signature) and ed25519.verify(
                key.key, sealed, signature.seal
            ):
                return key
        except ed25519.VerifierError as fault:
            raise BundleError(str(fault)) from fault
    raise BundleError(f"the signature of key {keys[0].name} does not fit the content")
