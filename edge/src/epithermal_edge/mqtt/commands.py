"""Commands from afar: a closed list, each signed, each obeyed once at most.

What costs little is looked at first, so that a flood of forgeries costs little; who cannot sign
gets no answer. docs/mqtt.md has the format.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import os
import re
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from epithermal_edge.errors import EpithermalError
from epithermal_edge.messages.message import Identity, Message, V, encode
from epithermal_edge.messages.topics import ANSWER, COMMAND
from epithermal_edge.signatures import ed25519
from epithermal_edge.times import utc

FILE = "commands.json"
MAX_BYTES = 2048
LIFE_S = 3600.0  # the longest that a command may be good for
NONCES = 256  # remembered at once
CHECKS_PER_S, CHECKS = 5.0, 20.0  # signatures that are looked at, and so many at once
TOLD, TOLD_EACH = 20, 1000  # the first refusals are logged, later only each so many
DOMAIN = "epithermal-command-v1"  # first line of what is signed: good for nothing else

BODY = {"station", "verb", "nonce", "expires"}  # and args, which may be left out

_NONCE = re.compile(r"[0-9a-f]{16,64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

Verb = Callable[[dict[str, Any]], dict[str, Any]]
"""Does what the command says with its arguments; what it returns goes into the answer, and so does
the text of an EpithermalError."""

log = logging.getLogger(__name__)


class RefusedError(EpithermalError):
    """A command that is not obeyed; the text is the reason's one word."""


@dataclass(frozen=True, slots=True)
class Command:
    """What a payload asks for; nothing is proved yet."""

    verb: str
    nonce: str
    expires_s: float  # Unix time [s]
    args: dict[str, Any]
    signed: bytes
    signature: bytes


def to_sign(topic: str, body: str) -> bytes:
    """The bytes that a signature is made of: a name for the purpose, the topic, the body."""
    return f"{DOMAIN}\n{topic}\n{body}".encode()


def parse(topic: str, payload: bytes, station: str) -> Command:
    """The command in a payload.

    Raises
    ------
    RefusedError
        Too long, not of the documented form, or for another station or topic.
    """
    if len(payload) > MAX_BYTES:
        raise RefusedError("oversized")
    try:
        envelope = json.loads(payload)
        body_text, signature = envelope["body"], envelope["sig"]
        body = json.loads(body_text)
        named, verb, nonce = body["station"], body["verb"], body["nonce"]
        expires, args = body["expires"], body.get("args", {})
        if envelope.keys() != {"v", "body", "sig"} or envelope["v"] != 1:
            raise RefusedError("malformed")
        if not isinstance(args, dict) or body.keys() - {"args"} != BODY:
            raise RefusedError("malformed")
        if not (_NONCE.fullmatch(nonce) and _TIME.fullmatch(expires)):
            raise RefusedError("malformed")
        expires_s = datetime.fromisoformat(expires).timestamp()
        raw = base64.b64decode(signature, validate=True)
        signed = to_sign(topic, body_text)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise RefusedError("malformed") from error
    if named != station:
        raise RefusedError("station")
    if len(raw) != 64:
        raise RefusedError("unsigned")
    if verb != topic.rpartition("/")[2]:
        raise RefusedError("topic")
    return Command(verb, nonce, expires_s, args, signed, raw)


class Nonces:
    """Which commands were obeyed; on disk before a command is, so that none is obeyed twice.

    What has expired is forgotten, and nothing that expires no later is obeyed again: a clock that
    goes back brings no command back. A file that cannot be read forbids all that was signed before.
    """

    def __init__(self, path: Path, wall_s: float) -> None:
        self._path = path
        self.floor_s = -math.inf  # what expires up to here is not obeyed
        self._used: dict[str, float] = {}
        try:
            self._load(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            log.error("%s: %s; commands signed before now are refused", path, error)
            self.floor_s = wall_s + LIFE_S

    def _load(self, table: dict[str, Any]) -> None:
        content = table["content"]
        if zlib.crc32(content.encode()) != table["crc32"]:
            raise ValueError("damaged")
        floor_s, used = json.loads(content)
        self.floor_s = -math.inf if floor_s is None else float(floor_s)
        self._used = {str(nonce): float(expires_s) for nonce, expires_s in used.items()}

    def knows(self, nonce: str, expires_s: float) -> bool:
        """Whether it was used, or may have been."""
        return expires_s <= self.floor_s or nonce in self._used

    def use(self, nonce: str, expires_s: float, wall_s: float) -> None:
        """Remember it for good.

        Raises
        ------
        OSError
            It could not be written, and is not to be relied on.
        """
        self._used[nonce] = expires_s
        old = [n for n, e in self._used.items() if e < wall_s and n != nonce]
        if len(self._used) - len(old) > NONCES:
            old = sorted(self._used, key=self._used.__getitem__)[: len(self._used) - NONCES]
        for name in old:
            self.floor_s = max(self.floor_s, self._used.pop(name))
        floor_s = None if math.isinf(self.floor_s) else self.floor_s
        content = json.dumps([floor_s, self._used])
        body = json.dumps({"v": 1, "crc32": zlib.crc32(content.encode()), "content": content})
        partial = self._path.with_suffix(".part")
        with partial.open("w") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Commands:
    """Who may command, and what was commanded.

    Parameters
    ----------
    public_key :
        Of the one who may, 32 bytes.
    wall :
        Unix time [s].
    """

    def __init__(
        self, public_key: bytes, identity: Identity, nonces: Nonces, wall: Callable[[], float]
    ) -> None:
        self._key, self._identity, self._nonces, self._wall = public_key, identity, nonces, wall
        self.verbs: Mapping[str, Verb] = {}
        self.obeyed = 0
        self.refused: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._checks, self._checked_at = CHECKS, 0.0

    def screen(self, topic: str, payload: bytes, retained: bool) -> Command | None:
        """Everything that can be told without arithmetic; called from the connection's thread."""
        try:
            if retained:
                raise RefusedError("retained")
            command = parse(topic, payload, self._identity.station)
            if command.verb not in self.verbs:
                raise RefusedError("verb")
            self._check_time(command)
        except RefusedError as refusal:
            self.refuse(str(refusal), topic)
            return None
        return command

    def _check_time(self, command: Command) -> None:
        left_s = command.expires_s - self._wall()
        if left_s <= 0.0:
            raise RefusedError("expired")
        if left_s > LIFE_S:
            raise RefusedError("too_long")
        if self._nonces.knows(command.nonce, command.expires_s):
            raise RefusedError("replayed")

    def refuse(self, why: str, topic: str) -> None:
        """Count a command that is not obeyed; called from either thread."""
        with self._counting:
            self.refused[why] += 1
            total = self.refused.total()
        if total <= TOLD or total % TOLD_EACH == 0:
            log.warning("command %d refused: %s: %.80s", total, why, topic)

    def obey(self, command: Command, now: float) -> Message | None:
        """Check the signature, remember the nonce, do it; the answer, None for a forgery.

        Parameters
        ----------
        command :
            That passed `screen`.
        now :
            Monotonic clock [s].
        """
        topic = self._identity.topic(COMMAND, command.verb)
        self._checks = min(CHECKS, self._checks + (now - self._checked_at) * CHECKS_PER_S)
        self._checked_at = now
        try:
            self._check_time(command)  # it may have waited, or be the second of two
            if self._checks < 1.0:
                raise RefusedError("busy")
            self._checks -= 1.0
            if not self._is_signed(command):
                raise RefusedError("signature")
            self._nonces.use(command.nonce, command.expires_s, self._wall())
        except RefusedError as refusal:
            self.refuse(str(refusal), topic)
            return None
        except OSError as error:
            self.refuse("no_memory", topic)
            return self._answer(command, "failed", f"cannot be remembered: {error.strerror}", {})
        self.obeyed += 1
        log.info("command %s, nonce %s", command.verb, command.nonce)
        try:
            return self._answer(command, "done", "", self.verbs[command.verb](command.args))
        except EpithermalError as error:
            return self._answer(command, "failed", str(error), {})

    def _is_signed(self, command: Command) -> bool:
        try:
            return ed25519.verify(self._key, command.signed, command.signature)
        except ed25519.VerifierError as error:  # a damaged installation stops no measurement
            log.error("%s", error)
            return False

    def _answer(self, command: Command, outcome: str, text: str, result: dict[str, Any]) -> Message:
        wall_s = self._wall()
        body = encode(
            {
                "v": V,
                "station": self._identity.station,
                "verb": command.verb,
                "nonce": command.nonce,
                "time": utc(wall_s),
                "outcome": outcome,
                "text": text,
                "result": result,
            }
        )
        return self._identity.message(ANSWER, body, command.verb, wall_s)

    def health(self) -> dict[str, object]:
        """Counts since the start."""
        with self._counting:
            return {"obeyed": self.obeyed, "refused": dict(self.refused)}
