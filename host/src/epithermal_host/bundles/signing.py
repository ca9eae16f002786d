"""Keys that sign bundles, and signatures, as minisign writes them: the other half of
`epithermal_edge.signatures.minisign`.

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
"""Gives the password of an encrypted key."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """What signs."""

    key_id: bytes  # 8 bytes
    seed: bytes  # 32 bytes
    public: bytes  # 32 bytes


def make_key(seed: bytes | None = None) -> SecretKey:
    """A new key; of a given seed (32 bytes) always the same but for its id."""
    seed = os.urandom(32) if seed is None else seed
    return SecretKey(os.urandom(8), seed, _public(seed))


def public_text(key: SecretKey) -> str:
    """The file that whoever verifies needs."""
    shown = minisign.PublicKey(key.key_id, key.public)
    line = base64.b64encode(minisign.KEY_FORM + key.key_id + key.public).decode()
    return f"untrusted comment: minisign public key {shown.name}\n{line}\n"


def secret_text(key: SecretKey, password: str | None) -> str:
    """The file that is to be kept secret; None: not encrypted."""
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
    """The key in a file of `secret_text` or of minisign.

    Parameters
    ----------
    ask :
        Called for the password when the file is encrypted.

    Raises
    ------
    ConfigError
        The file cannot be read, is no secret key, or the password is wrong.
    """
    try:
        lines = path.read_text("ascii").splitlines()
        raw = base64.b64decode(lines[1], validate=True)
    except OSError as fault:
        raise ConfigError(f"{path}: {fault.strerror}; make a key: epithermal-host key") from fault
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
        raise ConfigError(f"{path}: encrypted in a way that is not known")
    key = SecretKey(body[:8], body[8:40], body[40:72])
    if _public(key.seed) != key.public:
        raise ConfigError(f"{path}: damaged: its halves are not of one key")
    return key


def sign(key: SecretKey, content: bytes, comment: str) -> bytes:
    """The signature file of a content; the same each time.

    Parameters
    ----------
    comment :
        One line that is signed too.
    """
    secret = Ed25519PrivateKey.from_private_bytes(key.seed)
    signature = secret.sign(hashlib.blake2b(content).digest())
    seal = secret.sign(signature + comment.encode())
    line = base64.b64encode(minisign.PREHASHED + key.key_id + signature).decode()
    text = f"untrusted comment: signature by epithermal-host\n{line}\n"
    text += f"{minisign.TRUSTED}{comment}\n{base64.b64encode(seal).decode()}\n"
    return text.encode()


def sign_bundle(path: Path, key: SecretKey) -> Path:
    """Sign a bundle's MANIFEST, after its hashes were verified; where the signature is.

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
    """STEM.key, readable by its owner alone, and STEM.pub; neither is ever overwritten.

    Raises
    ------
    ConfigError
        One of them is there.
    """
    secret, public = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".key", ".pub"))
    for path in (secret, public):
        if path.exists():
            raise ConfigError(f"{path}: is there: a lost key cannot be made again; name another")
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
    """104 bytes by scrypt; parameters as libsodium's pickparams chooses them."""
    r, ops = 8, max(opslimit, 32768)
    by_memory = ops >= memlimit // 32
    most = memlimit // (r * 128) if by_memory else ops // (r * 4)
    log_n = next((i for i in range(1, 63) if 1 << i > most // 2), 63)
    p = min(ops // 4 // (1 << log_n), 0x3FFFFFFF) // r if by_memory else 1
    if 128 * r * (1 << log_n) > SCRYPT_MAX_BYTES // 2 + 1:
        raise ConfigError("the key asks for more than 1 GB of memory: make it with minisign's -W")
    return hashlib.scrypt(
        password.encode(), salt=salt, n=1 << log_n, r=r, p=p, maxmem=SCRYPT_MAX_BYTES, dklen=104
    )
