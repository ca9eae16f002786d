"""Verify Ed25519 signatures and read the public keys that they are checked with.

The arithmetic is that of the package `cryptography` (OpenSSL), imported at the first signature, so
that a station without commands and model updates never loads it. OpenSSL accepts any 32 bytes as a
key, so this module first rejects keys that are no point of the curve, keys that are a second form
of another key, and keys for which one signature fits many messages.

References
----------
S. Josefsson and I. Liusvaara, RFC 8032 (2017), section 5.1: the curve, its encoding, the equation.
RFC 8410 (2018), section 4: public keys in PEM. K. Chalkias, F. Garillot and V. Nikolaenko (2020),
Taming the many EdDSAs, SSR 2020, table 1 and section 4: points of small order, forms of a point.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from epithermal_edge.errors import ConfigError, EpithermalError

P = 2**255 - 19  # the field
D = -121665 * pow(121666, P - 2, P) % P  # of the curve -x^2 + y^2 = 1 + D x^2 y^2
Y_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_ORDER = {0, 1, P - 1, Y_ORDER_8, P - Y_ORDER_8}  # y of the eight points of order 1, 2, 4, 8
SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: before the 32 bytes of a public key


class VerifierError(EpithermalError):
    """The package `cryptography` cannot be imported, so no signature can be verified."""


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether a signature of exactly this message is valid for a key.

    Parameters
    ----------
    public_key, signature :
        32 and 64 bytes; False for any other length and for a key that `is_weak`.

    Raises
    ------
    VerifierError
        The package `cryptography` is missing or damaged.
    """
    if len(signature) != 64 or is_weak(public_key):
        return False
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except (ImportError, OSError) as error:
        raise VerifierError(f"no signature can be verified: cryptography: {error}") from error
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def read_public_key(path: Path) -> bytes:
    """Read a PEM file, as `openssl pkey -pubout` writes it, and return the 32 bytes of its key.

    Parsed without `cryptography`, because the configuration is read at each start.

    Raises
    ------
    ConfigError
        The file cannot be read, or does not hold an Ed25519 public key.
    """
    remedy = "create it with `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`"
    try:
        lines = path.read_text("ascii").splitlines()
        body = "".join(line.strip() for line in lines if not line.startswith("-----"))
        der = base64.b64decode(body, validate=True)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a file with a public key") from error
    except (UnicodeDecodeError, binascii.Error) as error:
        raise ConfigError(f"{path}: not a public key in PEM; {remedy}") from error
    key = der.removeprefix(SPKI)
    if len(der) != len(SPKI) + 32 or is_weak(key):
        raise ConfigError(f"{path}: not an Ed25519 public key; {remedy}")
    return key


def is_weak(public_key: bytes) -> bool:
    """Return whether bytes are unsafe as a public key; any other length than 32 is.

    Unsafe are a y not below P (a second form of another key), a y without a point, and the points
    of small order, for which one signature fits many messages. On the curve
    x^2 = (y^2 - 1) / (D y^2 + 1), and Euler's criterion decides whether that is a square.
    """
    y = int.from_bytes(public_key, "little") & (1 << 255) - 1  # the highest bit is the sign of x
    if len(public_key) != 32 or y >= P or y in SMALL_ORDER:
        return True
    return pow((y * y - 1) * (D * y * y + 1), (P - 1) // 2, P) != 1
