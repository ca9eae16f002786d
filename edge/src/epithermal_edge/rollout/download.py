"""Download a bundle's tar over HTTPS, with a verified certificate; resume partial downloads.

The content is not trusted: its hashes and its signature are verified when it is installed.
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
from epithermal_edge.rollout.privileges import act_as_owner
from epithermal_edge.rollout.staging import open_plain
from epithermal_edge.rollout.state_file import match_owner
from epithermal_edge.rollout.tar_stream import MAX_BYTES

TIMEOUT_S = 30.0  # longest time without data
TOTAL_S = 3600.0  # longest time of one download; the next command resumes it
TRIES, PAUSE_S = 5, 2.0  # attempts of one command, first pause between them; it doubles
CHUNK = 1 << 16
PARTIAL_DAYS = 30.0  # a partial file older than this is deleted


class BrokenOffError(EpithermalError):
    """The download is incomplete; a later command can resume it."""


class _OnlyHttps(HTTPRedirectHandler):
    """Follows a redirect only to an https address."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if not newurl.startswith("https://"):
            raise BundleError(f"{req.full_url}: redirects to {newurl[:80]}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@dataclass(frozen=True, slots=True)
class Partial:
    """A partly downloaded file, with the ETag or date of its content beside it."""

    file: Path

    @property
    def tag_file(self) -> Path:
        """File with the ETag or date of the content; without it no download is resumed."""
        return self.file.with_suffix(".tag")

    def resume_point(self) -> tuple[int, str]:
        """Return the number of bytes and the tag; 0 and "" if the download cannot be resumed."""
        try:
            tag = str(json.loads(self.tag_file.read_bytes())["tag"])
            return (self.file.stat().st_size, tag) if tag else (0, "")
        except (OSError, ValueError, LookupError, TypeError):
            return 0, ""

    def restart(self, tag: str) -> None:
        """Start again from the first byte."""
        self.file.write_bytes(b"")
        self.tag_file.write_text(json.dumps({"tag": tag}))

    def delete(self) -> None:
        """Delete the partial file and its tag."""
        self.file.unlink(missing_ok=True)
        self.tag_file.unlink(missing_ok=True)


def pull(
    address: str,
    folder: Path,
    ca_file: Path | None,
    out: Callable[[str], object],
    sleep: Callable[[float], object] = time.sleep,
) -> Path:
    """Download the file at an address and return its path; the caller deletes it.

    Parameters
    ----------
    folder :
        Folder of the station's bundles; partial files stay there and the next call resumes them.
    ca_file :
        Certificate of the authority that signed the server's; None: the system's certificates.
    out :
        Prints a line of progress for the user.
    sleep :
        Waits for a time [s].

    Raises
    ------
    ConfigError
        The address is not https, `ca_file` is invalid, or the server's certificate is not trusted.
    BrokenOffError
        The download is incomplete after TRIES attempts.
    BundleError
        The server refuses the request, or the file is too large.
    """
    if not address.startswith("https://"):
        raise ConfigError(f"{address}: only https:// addresses are allowed")
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as fault:
        raise ConfigError(f"{ca_file}: not a certificate of an authority ({fault})") from fault
    opener = build_opener(HTTPSHandler(context=context), _OnlyHttps())
    with act_as_owner(folder):
        return _pull(opener, address, folder, out, sleep)


def _pull(
    opener: OpenerDirector,
    address: str,
    folder: Path,
    out: Callable[[str], object],
    sleep: Callable[[float], object],
) -> Path:
    """Download the file, with several attempts."""
    place = folder / ".download"
    place.mkdir(parents=True, exist_ok=True)
    match_owner(place, folder)
    _delete_old(place)
    partial = Partial(place / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.part")
    until, pause_s, reason = time.monotonic() + TOTAL_S, PAUSE_S, ""
    for attempt in range(TRIES):
        if attempt:
            out(f"{reason}; {partial.resume_point()[0]} bytes received, resuming in {pause_s:g} s")
            sleep(pause_s)
            pause_s *= 2.0
        try:
            _fetch(opener, address, partial, until)
        except (URLError, HTTPException, OSError) as fault:
            if isinstance(getattr(fault, "reason", None), ssl.SSLCertVerificationError):
                raise ConfigError(
                    f"{address}: {fault}: name the certificate of its authority with --ca"
                ) from fault
            reason = f"{address}: {getattr(fault, 'reason', None) or fault}"
            continue
        whole = partial.file.with_suffix(".tar")
        partial.file.replace(whole)
        partial.delete()
        return whole
    raise BrokenOffError(
        f"{reason}; the received part is stored: run the same command again to resume"
    )


def _fetch(opener: OpenerDirector, address: str, partial: Partial, until: float) -> None:
    """Download the file, or the rest of it, into the partial file.

    Raises
    ------
    OSError
        The download is incomplete (URLError, TimeoutError and others): retry.
    BundleError
        The error is permanent.
    """
    have, tag = partial.resume_point()
    headers = {"User-Agent": "epithermal-edge", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    try:
        answer = opener.open(Request(address, headers=headers), timeout=TIMEOUT_S)
    except HTTPError as refusal:
        with refusal:
            if refusal.code == 416:  # nothing is left, or the file has changed: start again
                partial.delete()
                raise URLError("the server rejects the range") from refusal
            if refusal.code >= 500 or refusal.code == 429:
                raise URLError(f"status {refusal.code}") from refusal
            raise BundleError(f"{address}: status {refusal.code}: check the address") from refusal
    with answer:
        if answer.status != 206 or not _continues(answer, have):
            have = 0
            partial.restart(_tag(answer.headers))
        length = answer.headers.get("Content-Length")
        _copy(answer, partial, have, None if length is None else int(length), until, address)


def _tag(headers: HTTPMessage) -> str:
    """Return the value for If-Range; a weak ETag is not allowed (RFC 9110, section 13.1.5)."""
    tag = headers.get("ETag") or ""
    return tag if tag.startswith('"') else headers.get("Last-Modified") or ""


def _continues(answer: Any, have: int) -> bool:
    return str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-")


def _copy(
    answer: Any, partial: Partial, have: int, length: int | None, until: float, address: str
) -> None:
    if have + (length or 0) > MAX_BYTES:
        partial.delete()
        raise BundleError(f"{address}: too large for a bundle: check the address")
    wanted = None if length is None else have + length
    with partial.file.open("ab") as file:
        while chunk := answer.read1(CHUNK):
            have += file.write(chunk)
            if have > MAX_BYTES:
                partial.delete()
                raise BundleError(f"{address}: too large for a bundle: check the address")
            if time.monotonic() > until:
                raise URLError(f"not complete after {TOTAL_S:.0f} s")
    if wanted is not None and have != wanted:
        raise URLError(f"broke off at {have} of {wanted} bytes")


def _delete_old(place: Path) -> None:
    for left in place.iterdir():
        if time.time() - left.stat().st_mtime > PARTIAL_DAYS * 86400.0:
            left.unlink(missing_ok=True)


def check_sha256(path: Path, expected: str) -> None:
    """Verify the SHA-256 hash of a tar.

    Raises
    ------
    BundleError
        The hash differs, or the file cannot be read.
    """
    try:
        with open_plain(path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as fault:
        raise BundleError(f"{path}: {fault.strerror}: --sha256 is the hash of a tar") from fault
    if found != expected.lower():
        raise BundleError(f"{path}: sha256 is {found}, not the expected one: download it again")
