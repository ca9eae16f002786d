"""A bundle's tar from a web server: certificate verified, continued where it broke off.

What comes is not trusted: its hashes and its signature are looked at when it is installed.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

from epithermal_edge.errors import BundleError, ConfigError, EpithermalError
from epithermal_edge.rollout.staging import MAX_BYTES
from epithermal_edge.rollout.state_file import match_owner

TIMEOUT_S = 30.0  # of silence
TOTAL_S = 3600.0  # of a whole download; on a slow link the next one goes on
TRIES, PAUSE_S = 5, 2.0  # in one command; the pause doubles
CHUNK = 1 << 16
PARTIAL_DAYS = 30.0  # how long a partial file is kept for the next command


class BrokenOffError(EpithermalError):
    """The rest may come another time."""


class _OnlyHttps(HTTPRedirectHandler):
    """A server may send on to another address, but not to one without TLS."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if not newurl.startswith("https://"):
            raise BundleError(f"{req.full_url}: sends on to {newurl[:80]}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@dataclass(frozen=True, slots=True)
class Partial:
    """A file that grows, and beside it what the server called its content."""

    file: Path

    @property
    def tag_file(self) -> Path:
        """ETag or date of the content; without it nothing is continued."""
        return self.file.with_suffix(".tag")

    def known(self) -> tuple[int, str]:
        """Bytes that are here, and the tag; 0 where they cannot be continued."""
        try:
            tag = str(json.loads(self.tag_file.read_bytes())["tag"])
            return (self.file.stat().st_size, tag) if tag else (0, "")
        except (OSError, ValueError, LookupError, TypeError):
            return 0, ""

    def begin(self, tag: str) -> None:
        """From the first byte on."""
        self.file.write_bytes(b"")
        self.tag_file.write_text(json.dumps({"tag": tag}))

    def drop(self) -> None:
        """It is of no use."""
        self.file.unlink(missing_ok=True)
        self.tag_file.unlink(missing_ok=True)


def pull(
    address: str,
    folder: Path,
    ca_file: Path | None,
    out: Callable[[str], object],
    sleep: Callable[[float], object] = time.sleep,
) -> Path:
    """The file at an address, whole; the caller deletes it.

    Parameters
    ----------
    folder :
        Of the station's bundles: partial files are kept there, and continued by the next call.
    ca_file :
        Certificate of the server's authority; None: the system's.
    out :
        Takes a line for people.

    Raises
    ------
    ConfigError
        The address is not https, the certificate file is none, or does not vouch for the server.
    BrokenOffError
        It did not come whole in several tries.
    BundleError
        The server refuses, or what it sends is too large.
    """
    if not address.startswith("https://"):
        raise ConfigError(f"{address}: only https:// addresses are pulled")
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as fault:
        raise ConfigError(f"{ca_file}: no certificate of an authority ({fault})") from fault
    opener = build_opener(HTTPSHandler(context=context), _OnlyHttps())
    place = folder / ".download"
    place.mkdir(parents=True, exist_ok=True)
    match_owner(place, folder)
    _forget_old(place)
    partial = Partial(place / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.part")
    until, pause_s, reason = time.monotonic() + TOTAL_S, PAUSE_S, ""
    for attempt in range(TRIES):
        if attempt:
            out(f"{reason}; {partial.known()[0]} bytes are here, goes on in {pause_s:g} s")
            sleep(pause_s)
            pause_s *= 2.0
        try:
            _fetch(opener, address, partial, until)
        except (URLError, HTTPException, OSError) as fault:
            if isinstance(getattr(fault, "reason", None), ssl.SSLCertVerificationError):
                raise ConfigError(f"{address}: {fault}: give its authority with --ca") from fault
            reason = f"{address}: {getattr(fault, 'reason', None) or fault}"
            continue
        whole = partial.file.with_suffix(".tar")
        partial.file.replace(whole)
        partial.drop()
        return whole
    raise BrokenOffError(f"{reason}; what came is kept: give the same command again")


def _fetch(opener: OpenerDirector, address: str, partial: Partial, until: float) -> None:
    """The whole, or the rest of it, into the partial file.

    Raises
    ------
    OSError
        It broke off: URLError, TimeoutError and the like.
    BundleError
        Another try does not help.
    """
    have, tag = partial.known()
    headers = {"User-Agent": "epithermal-edge", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    try:
        answer = opener.open(Request(address, headers=headers), timeout=TIMEOUT_S)
    except HTTPError as refusal:
        with refusal:
            if refusal.code == 416:  # nothing is left, or the file has changed: all of it again
                partial.drop()
                raise URLError("the server does not know the range") from refusal
            if refusal.code >= 500 or refusal.code == 429:
                raise URLError(f"status {refusal.code}") from refusal
            raise BundleError(f"{address}: status {refusal.code}: check the address") from refusal
    with answer:
        if answer.status != 206 or not _continues(answer, have):
            have = 0
            partial.begin(_tag(answer.headers))
        length = answer.headers.get("Content-Length")
        _copy(answer, partial, have, None if length is None else int(length), until, address)


def _tag(headers: HTTPMessage) -> str:
    """What If-Range takes; a weak ETag will not do (RFC 9110, section 13.1.5)."""
    tag = headers.get("ETag") or ""
    return tag if tag.startswith('"') else headers.get("Last-Modified") or ""


def _continues(answer: Any, have: int) -> bool:
    return str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-")


def _copy(
    answer: Any, partial: Partial, have: int, length: int | None, until: float, address: str
) -> None:
    if have + (length or 0) > MAX_BYTES:
        partial.drop()
        raise BundleError(f"{address}: too large for a bundle: check the address")
    wanted = None if length is None else have + length
    with partial.file.open("ab") as file:
        while chunk := answer.read1(CHUNK):
            have += file.write(chunk)
            if have > MAX_BYTES:
                partial.drop()
                raise BundleError(f"{address}: too large for a bundle: check the address")
            if time.monotonic() > until:
                raise URLError(f"did not end within {TOTAL_S:.0f} s")
    if wanted is not None and have != wanted:
        raise URLError(f"broke off at {have} of {wanted} bytes")


def _forget_old(place: Path) -> None:
    for left in place.iterdir():
        if time.time() - left.stat().st_mtime > PARTIAL_DAYS * 86400.0:
            left.unlink(missing_ok=True)


def check_sha256(path: Path, expected: str) -> None:
    """Hold a file to the hash that its maker tells.

    Raises
    ------
    BundleError
        It is another, or cannot be read.
    """
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as fault:
        raise BundleError(f"{path}: {fault.strerror}: --sha256 is of a tar") from fault
    if found != expected.lower():
        raise BundleError(f"{path}: sha256 is {found}, not what was given: take it again")
