"""Ed25519: whether a signature is that of a key. Verification alone; a station signs nothing.

Plain integers, some milliseconds a signature: enough for a few commands, and one dependency less.
Nothing here is secret, so the time that it takes tells nobody anything.

References
----------
RFC 8032 (2017), section 5.1: the curve, its encoding and the equation. As OpenSSL does, the
equation without the cofactor: R is computed and compared with what was sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path

from epithermal_edge.errors import ConfigError

P = 2**255 - 19  # the field
L = 2**252 + 27742317777372353535851937790883648493  # order of the base point
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: before the 32 bytes of a public key

Point = tuple[int, int, int, int]  # X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z
ZERO: Point = (0, 1, 1, 0)


def _add(a: Point, b: Point) -> Point:
    """RFC 8032, section 5.1.4."""
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(a: Point, s: int, b: Point, k: int) -> Point:
    """[s]a + [k]b, bit by bit of both at once."""
    both, sum_ = _add(a, b), ZERO
    for i in range(max(s.bit_length(), k.bit_length()) - 1, -1, -1):
        sum_ = _add(sum_, sum_)
        bits = (s >> i & 1, k >> i & 1)
        if bits != (0, 0):
            sum_ = _add(sum_, {(1, 0): a, (0, 1): b, (1, 1): both}[bits])
    return sum_


def _point(encoded: bytes) -> Point | None:
    """The point of 32 bytes, None when there is none; RFC 8032, section 5.1.3."""
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * SQRT_M1 % P
    if v * x * x % P != u or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def encoded(a: Point) -> bytes:
    """A point's 32 bytes; RFC 8032, section 5.1.2."""
    inverse = pow(a[2], P - 2, P)
    x, y = a[0] * inverse % P, a[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


_base = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
assert _base is not None
BASE: Point = _base


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is that of the key's owner under just this message.

    Parameters
    ----------
    public_key, signature :
        32 and 64 bytes; of another length, or no point of the curve: False.
    """
    if len(public_key) != 32 or len(signature) != 64:
        return False
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    a = _point(public_key)
    if a is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(r + public_key + message).digest(), "little") % L
    minus_a = (P - a[0], a[1], 1, P - a[3])
    return encoded(times(BASE, s, minus_a, k)) == r


def read_public_key(path: Path) -> bytes:
    """The 32 bytes of a PEM file as `openssl pkey -pubout` writes it.

    Raises
    ------
    ConfigError
        The file cannot be read, or does not hold an Ed25519 public key.
    """
    remedy = "make it with `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`"
    try:
        lines = path.read_text("ascii").splitlines()
        body = "".join(line.strip() for line in lines if not line.startswith("-----"))
        der = base64.b64decode(body, validate=True)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a public key") from error
    except (UnicodeDecodeError, binascii.Error) as error:
        raise ConfigError(f"{path}: not a public key in PEM; {remedy}") from error
    key = der.removeprefix(SPKI)
    if len(der) != len(SPKI) + 32 or len(key) != 32 or is_weak(key):
        raise ConfigError(f"{path}: not an Ed25519 public key; {remedy}")
    return key


def is_weak(public_key: bytes) -> bool:
    """Whether it is no point, or one of the eight of small order that fit many signatures."""
    a = _point(public_key)
    if a is None:
        return True
    for _ in range(3):
        a = _add(a, a)
    return a[0] % P == 0 and (a[1] - a[2]) % P == 0
