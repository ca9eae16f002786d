"""Generate keys and sign bundles in the format of minisign.

`epithermal_edge.signatures.minisign` verifies the signatures.

References
----------
F. Denis, minisign, https://jedisct1.github.io/minisign/, "Secret key format". C. Percival and
S. Josefsson, RFC 7914 (2016): scrypt; its parameters from libsodium's opslimit and memlimit as in
crypto_pwhash_scryptsalsa208sha256.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference import bundle as bundles
from epithermal_edge.inference.bundle import SIGNATURE
from epithermal_edge.signatures import minisign
from epithermal_host.compute.files import write_atomic

SCRYPT, PLAIN, CHECKSUM = b"Sc", b"\0\0", b"B2"
OPSLIMIT, MEMLIMIT = 33_554_432, 1_073_741_824  # libsodium's "sensitive", minisign's own choice
SCRYPT_MAX_BYTES = 2**31 - 1

Ask = Callable[[], str]
"""Function that returns the password of an encrypted key."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """Ed25519 key pair with its key id."""

    key_id: bytes  # 8 bytes
    seed: bytes  # 32 bytes
    public: bytes  # 32 bytes


def make_key(seed: bytes | None = None) -> SecretKey:
    """Generate a key, at random or from a seed (32 bytes); its id is always random."""
    seed = os.urandom(32) if seed is None else seed
    return SecretKey(os.urandom(8), seed, _public(seed))


def public_text(key: SecretKey) -> str:
    """Return the content of the public key file."""
    shown = minisign.PublicKey(key.key_id, key.public)
    line = base64.b64encode(minisign.KEY_FORM + key.key_id + key.public).decode()
    return f"untrusted comment: minisign public key {shown.name}\n{line}\n"


def secret_text(key: SecretKey, password: str | None) -> str:
    """Return the content of the secret key file; password None: not encrypted."""
    body = key.key_id + key.seed + key.public
    if password is None:
        head = minisign.KEY_FORM + PLAIN + CHECKSUM + bytes(48)
        body += bytes(32)
    else:
        salt = os.urandom(32)
        limits = OPSLIMIT.to_bytes(8, "little") + MEMLIMIT.to_bytes(8, "little")
        head = minisign.KEY_FORM + SCRYPT + CHECKSUM + salt + limits
        body = _xor(body + _checksum(body), _stream(password, salt, OPSLIMIT, MEMLIMIT))
    line = base64.b64encode(head + body).decode()
    return f"untrusted comment: minisign encrypted secret key\n{line}\n"


def read_secret_key(path: Path, ask: Ask) -> SecretKey:
    """Read a secret key file of this program or of minisign.

    Parameters
    ----------
    ask :
        Called for the password if the file is encrypted.

    Raises
    ------
    ConfigError
        The file cannot be read, is no secret key, or the password is wrong.
    """
    try:
        lines = path.read_text("ascii").splitlines()
        raw = base64.b64decode(lines[1], validate=True)
    except OSError as fault:
        raise ConfigError(
            f"{path}: {fault.strerror}: generate a key with `epithermal-host key`"
        ) from fault
    except (ValueError, IndexError) as fault:
        raise ConfigError(f"{path}: not a minisign secret key") from fault
    if len(raw) != 158 or raw[:2] != minisign.KEY_FORM or raw[4:6] != CHECKSUM:
        raise ConfigError(f"{path}: not a minisign secret key")
    body = raw[54:]
    if raw[2:4] == SCRYPT:
        ops, mem = (int.from_bytes(raw[i : i + 8], "little") for i in (38, 46))
        body = _xor(body, _stream(ask(), raw[6:38], ops, mem))
        if _checksum(body[:72]) != body[72:]:
            raise ConfigError(f"{path}: wrong password, or damaged")
    elif raw[2:4] != PLAIN:
        raise ConfigError(f"{path}: unknown kind of encryption")
    key = SecretKey(body[:8], body[8:40], body[40:72])
    if _public(key.seed) != key.public:
        raise ConfigError(f"{path}: damaged: its public and secret keys do not match")
    return key


def sign(key: SecretKey, content: bytes, comment: str) -> bytes:
    """Return the signature file of a content; equal calls give equal bytes.

    Parameters
    ----------
    comment :
        One line, covered by the signature.
    """
    secret = Ed25519PrivateKey.from_private_bytes(key.seed)
    signature = secret.sign(hashlib.blake2b(content).digest())
    seal = secret.sign(signature + comment.encode())
    line = base64.b64encode(minisign.PREHASHED + key.key_id + signature).decode()
    text = f"untrusted comment: signature by epithermal-host\n{line}\n"
    text += f"{minisign.TRUSTED}{comment}\n{base64.b64encode(seal).decode()}\n"
    return text.encode()


def sign_bundle(path: Path, key: SecretKey) -> Path:
    """Verify a bundle's hashes and sign its MANIFEST; return the path of the signature.

    Raises
    ------
    BundleError
        The bundle is damaged.
    """
    bundle = bundles.open_bundle(path)
    manifest = (path / bundles.MANIFEST).read_bytes()
    target = path / SIGNATURE
    write_atomic(target, sign(key, manifest, f"bundle {bundle.name} {bundle.version}"))
    return target


def write_keys(stem: Path, key: SecretKey, password: str | None) -> tuple[Path, Path]:
    """Write STEM.key, readable by its owner alone, and STEM.pub; never overwrite a file.

    Raises
    ------
    ConfigError
        One of the files exists.
    """
    secret, public = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".key", ".pub"))
    for path in (secret, public):
        if path.exists():
            raise ConfigError(f"{path}: exists: a lost key cannot be restored: use another name")
    stem.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secret_text(key, password))
    write_atomic(public, public_text(key).encode())
    return secret, public


def _public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(minisign.KEY_FORM + body, digest_size=32).digest()


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def _stream(password: str, salt: bytes, opslimit: int, memlimit: int) -> bytes:
    """Derive 104 bytes with scrypt, with the parameters of libsodium's pickparams."""
    r, ops = 8, max(opslimit, 32768)
    by_memory = ops >= memlimit // 32
    most = memlimit // (r * 128) if by_memory else ops // (r * 4)
    log_n = next((i for i in range(1, 63) if 1 << i > most // 2), 63)
    p = min(ops // 4 // (1 << log_n), 0x3FFFFFFF) // r if by_memory else 1
    if 128 * r * (1 << log_n) > SCRYPT_MAX_BYTES // 2 + 1:
        raise ConfigError(
            "the key needs more than 1 GB of memory: use a key generated with minisign -W"
        )
    return hashlib.scrypt(
        password.encode(), salt=salt, n=1 << log_n, r=r, p=p, maxmem=SCRYPT_MAX_BYTES, dklen=104
    )
