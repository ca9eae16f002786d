"""How far the roll-out of a model is: one small file beside the bundles, replaced atomically.

    staged -> verified -> trial -> committed | rejected

It holds the candidate and its state, the highest version that was ever committed of each name, and
what is to be told of it. The links of `models` say which bundle is used; this file never does, so
that its loss costs a trial and not the model.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

FILE, PART = "rollout.json", ".rollout-"
STAGED, VERIFIED, TRIAL = "staged", "verified", "trial"
EVENTS = 24  # of which are kept; the station tells each once

log = logging.getLogger(__name__)

Precedence = tuple[tuple[int, ...], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A bundle on its way to be used."""

    folder: str  # its name among the bundles; of one that is staged, where it lies until then
    title: str  # name and version; where it came from until these are known
    source: str
    state: str  # STAGED, VERIFIED or TRIAL
    pulled: bool = False  # from a server
    now: bool = False  # without a trial
    allow_downgrade: bool = False
    sha256: str = ""  # of MANIFEST
    since_seq: int = -1  # number of the newest record when its trial began
    starts: int = 0  # of the station, since its trial began


@dataclass(frozen=True, slots=True)
class Event:
    """A transition that operators are told of."""

    serial: int
    kind: str
    time_s: float  # Unix time [s]
    text: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """Content of the file."""

    candidate: Candidate | None = None
    highest: Mapping[str, str] = field(default_factory=dict)  # version that was committed, by name
    serial: int = 0  # of the newest event
    events: tuple[Event, ...] = ()

    def with_event(self, kind: str, text: str, candidate: Candidate | None) -> Rollout:
        """The same after a transition."""
        log.info("%s: %s", kind, text)
        event = Event(self.serial + 1, kind, time.time(), text)
        events = (*self.events, event)[-EVENTS:]
        return replace(self, candidate=candidate, serial=event.serial, events=events)

    def with_highest(self, name: str, version: str) -> Rollout:
        """The same after a bundle was committed."""
        before = self.highest.get(name)
        if before is not None and precedence(before) >= precedence(version):
            return self
        return replace(self, highest={**self.highest, name: version})


def precedence(version: str) -> Precedence:
    """A key by which semantic versions sort.

    References
    ----------
    Semantic Versioning 2.0.0, section 11.
    """
    core, _, pre = version.partition("-")
    parts = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in pre.split(".") if p]
    return tuple(int(n) for n in core.split(".")), (0, *parts) if pre else (1,)


def read(folder: Path) -> Rollout:
    """The file's content; that of an empty one where it is not there or damaged."""
    path = folder / FILE
    try:
        table = json.loads(path.read_bytes())
        content = table["content"]
        if zlib.crc32(content.encode()) != table["crc32"]:
            raise ValueError("a byte has changed")
        found = json.loads(content)
        candidate = Candidate(**found["candidate"]) if found["candidate"] else None
        events = tuple(Event(**event) for event in found["events"])
        return Rollout(candidate, dict(found["highest"]), int(found["serial"]), events)
    except FileNotFoundError:
        return Rollout()
    except (ValueError, TypeError, LookupError, AttributeError) as fault:
        log.error("%s: %s; a trial begins anew when its bundle is installed again", path, fault)
        return Rollout(serial=int(time.time()))  # later than any that was told


def write(folder: Path, rollout: Rollout) -> None:
    """Replace the file, for good."""
    content = json.dumps(asdict(rollout))
    body = json.dumps({"v": 1, "crc32": zlib.crc32(content.encode()), "content": content})
    part = folder / f"{PART}{os.getpid()}"
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(body)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        match_owner(part, folder)
        part.replace(folder / FILE)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync(folder)


def sync(path: Path) -> None:
    """What was done to a file or a folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def match_owner(path: Path, folder: Path) -> None:
    """What root made belongs to the folder's owner: the station's user has to go on with it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def clear(folder: Path) -> None:
    """Remove what a cut left of an unfinished `write`."""
    for left in folder.glob(f"{PART}*"):
        with contextlib.suppress(FileNotFoundError):
            left.unlink()
