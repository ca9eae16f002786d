"""Signatures in the format of minisign: whether what came is from one whose key is trusted.

Verification alone; a station signs nothing. Only the prehashed form (`ED`, the default since
minisign 0.11) is taken: Ed25519 over BLAKE2b-512 of the content, and a second signature over the
first and the trusted comment.

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
MAX_BYTES = 8192  # of a signature; minisign's comments have at most 8192 themselves
KEY_FORM, LEGACY, PREHASHED = b"Ed", b"Ed", b"ED"
UNTRUSTED, TRUSTED = "untrusted comment: ", "trusted comment: "


class UnknownKeyError(BundleError):
    """The signature is of a key that is not among the trusted ones: it proves nothing here."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Who is trusted."""

    key_id: bytes  # 8 bytes
    key: bytes  # 32 bytes

    @property
    def name(self) -> str:
        """The id as minisign prints it."""
        return self.key_id[::-1].hex().upper()


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature file, taken apart; nothing is proved yet."""

    form: bytes
    key_id: bytes
    signature: bytes
    comment: str  # the trusted one
    seal: bytes  # over signature and comment


def parse_public_key(text: str) -> PublicKey:
    """A key as minisign shows it: the second line of its .pub file, `RW` and 54 more characters.

    Raises
    ------
    ConfigError
        It is none.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != 42 or raw[:2] != KEY_FORM or ed25519.is_weak(raw[10:]):
        raise ConfigError(f"{text[:60]!r} is no minisign public key; give the line RW... of a .pub")
    return PublicKey(raw[2:10], raw[10:])


def parse(content: bytes) -> Signature:
    """A signature file.

    Raises
    ------
    BundleError
        It is not of the documented form.
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
    """The key under which a content was signed.

    Parameters
    ----------
    content :
        What the signature is over.
    signature_file :
        As minisign writes it.

    Raises
    ------
    UnknownKeyError
        It is of a key that is not trusted.
    BundleError
        It is no signature, or that of a trusted key over something else.
    """
    found = parse(signature_file)
    keys = [key for key in trusted if key.key_id == found.key_id]
    if not keys:
        name = found.key_id[::-1].hex().upper()
        raise UnknownKeyError(f"signed with key {name}, which is not in model.keys")
    if found.form != PREHASHED:
        raise BundleError("signed in minisign's legacy form: sign again without -l")
    digest = hashlib.blake2b(content).digest()
    sealed = found.signature + found.comment.encode()
    for key in keys:
        try:
            if ed25519.verify(key.key, digest, found.signature) and ed25519.verify(
                key.key, sealed, found.seal
            ):
                return key
        except ed25519.VerifierError as fault:
            raise BundleError(str(fault)) from fault
    raise BundleError(f"the signature of key {keys[0].name} does not fit: not what was signed")
