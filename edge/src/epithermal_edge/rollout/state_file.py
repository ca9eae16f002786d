"""Store the progress of a model's rollout in a small file that is replaced atomically.

    staged -> verified -> trial -> committed | rejected

The file holds the candidate and its state, the highest version ever committed of each name, and
the events to publish. The links in `models` alone select the bundle in use, so the loss of this
file costs a trial but never the model.
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
EVENTS = 24  # newest events that are stored; the station publishes each once

log = logging.getLogger(__name__)

Precedence = tuple[tuple[int, ...], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A bundle that is not yet in use."""

    folder: str  # its folder among the bundles; the staging folder while it is staged
    title: str  # name and version; its source until these are known
    source: str
    state: str  # STAGED, VERIFIED or TRIAL
    pulled: bool = False  # downloaded from a server
    now: bool = False  # to be used without a trial
    allow_downgrade: bool = False
    sha256: str = ""  # of MANIFEST
    since_seq: int = -1  # number of the newest record when its trial began
    starts: int = 0  # starts of the station during its trial


@dataclass(frozen=True, slots=True)
class Event:
    """A transition, published as an event."""

    serial: int
    kind: str
    time_s: float  # Unix time [s]
    text: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """Content of the file."""

    candidate: Candidate | None = None
    highest: Mapping[str, str] = field(default_factory=dict)  # highest committed version by name
    serial: int = 0  # of the newest event
    events: tuple[Event, ...] = ()

    def with_event(self, kind: str, text: str, candidate: Candidate | None) -> Rollout:
        """Return the content after a transition, with its event."""
        log.info("%s: %s", kind, text)
        event = Event(self.serial + 1, kind, time.time(), text)
        events = (*self.events, event)[-EVENTS:]
        return replace(self, candidate=candidate, serial=event.serial, events=events)

    def with_highest(self, name: str, version: str) -> Rollout:
        """Return the content after a bundle was committed."""
        before = self.highest.get(name)
        if before is not None and precedence(before) >= precedence(version):
            return self
        return replace(self, highest={**self.highest, name: version})


def precedence(version: str) -> Precedence:
    """Return a sort key for semantic versions.

    References
    ----------
    Semantic Versioning 2.0.0, section 11.
    """
    core, _, pre = version.partition("-")
    parts = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in pre.split(".") if p]
    return tuple(int(n) for n in core.split(".")), (0, *parts) if pre else (1,)


def read(folder: Path) -> Rollout:
    """Read the file; return an empty content if the file is missing or damaged."""
    path = folder / FILE
    try:
        table = json.loads(path.read_bytes())
        content = table["content"]
        if zlib.crc32(content.encode()) != table["crc32"]:
            raise ValueError("a byte has changed")
        values = json.loads(content)
        candidate = Candidate(**values["candidate"]) if values["candidate"] else None
        events = tuple(Event(**event) for event in values["events"])
        return Rollout(candidate, dict(values["highest"]), int(values["serial"]), events)
    except FileNotFoundError:
        return Rollout()
    except (ValueError, TypeError, LookupError, AttributeError) as fault:
        log.error("%s: %s; install the candidate again to restart its trial", path, fault)
        return Rollout(serial=int(time.time()))  # higher than any published serial


def write(folder: Path, rollout: Rollout) -> None:
    """Replace the file, atomically and durably."""
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
    """Write changes of a file or a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def match_owner(path: Path, folder: Path) -> None:
    """Change the owner of a file of root to that of the folder, the station's user."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def clear(folder: Path) -> None:
    """Delete the partial files of interrupted writes."""
    for left in folder.glob(f"{PART}*"):
        with contextlib.suppress(FileNotFoundError):
            left.unlink()
