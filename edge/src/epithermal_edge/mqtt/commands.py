"""Validate and execute remote commands: a closed list, each signed, each executed at most once.

Cheap checks come first, so that a flood of forgeries costs little; a command without a valid
signature gets no answer. docs/mqtt.md describes the format.
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
LIFE_S = 3600.0  # longest validity of a command
NONCES = 256  # largest number of stored nonces
CHECKS_PER_S, CHECKS = 5.0, 20.0  # rate and burst of signature checks
LOGGED_FIRST, LOGGED_EVERY = 20, 1000  # the first 20 refusals are logged, then every 1000th
DOMAIN = "epithermal-command-v1"  # first line of the signed text: limits the use of a signature

BODY = {"station", "verb", "nonce", "expires"}  # required keys; args is optional

_NONCE = re.compile(r"[0-9a-f]{16,64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

Verb = Callable[[dict[str, Any]], dict[str, Any]]
"""Executes a command with its arguments; the answer carries what it returns, or the text of the
EpithermalError that it raises."""

log = logging.getLogger(__name__)


class RefusedError(EpithermalError):
    """A refused command; the text is one word, the reason."""


@dataclass(frozen=True, slots=True)
class Command:
    """A parsed command; its signature is not verified yet."""

    verb: str
    nonce: str
    expires_s: float  # Unix time [s]
    args: dict[str, Any]
    signed: bytes
    signature: bytes


def bytes_to_sign(topic: str, body: str) -> bytes:
    """Return the bytes that are signed: purpose, topic and body, one per line."""
    return f"{DOMAIN}\n{topic}\n{body}".encode()


def parse(topic: str, payload: bytes, station: str) -> Command:
    """Parse the payload of a command.

    Raises
    ------
    RefusedError
        The payload is too long or malformed, or for another station or topic.
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
        signed = bytes_to_sign(topic, body_text)
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
    """Nonces of executed commands, written to disk before execution: none is executed twice.

    An expired nonce is deleted, and from then on every command that expires no later than it is
    refused: a clock that is set back revives no command. If the file cannot be read, all commands
    signed earlier are refused.
    """

    def __init__(self, path: Path, wall_s: float) -> None:
        self._path = path
        self.floor_s = -math.inf  # commands that expire up to here are refused
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

    def is_used(self, nonce: str, expires_s: float) -> bool:
        """Return whether a nonce was used, or may have been."""
        return expires_s <= self.floor_s or nonce in self._used

    def record(self, nonce: str, expires_s: float, wall_s: float) -> None:
        """Write a nonce to disk.

        Raises
        ------
        OSError
            The nonce was not written: do not execute the command.
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
    """Commands of one operator: validation, execution and counts.

    Parameters
    ----------
    public_key : (32,) bytes
        Ed25519 key of the operator.
    nonces :
        Nonces that were used before.
    wall :
        Returns the Unix time [s].
    """

    def __init__(
        self, public_key: bytes, identity: Identity, nonces: Nonces, wall: Callable[[], float]
    ) -> None:
        self._key, self._identity, self._nonces, self._wall = public_key, identity, nonces, wall
        self.verbs: Mapping[str, Verb] = {}
        self.executed = 0
        self.refused: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._checks, self._checked_at = CHECKS, 0.0

    def validate(self, topic: str, payload: bytes, retained: bool) -> Command | None:
        """Check all but the signature; return None if refused. For the connection's thread."""
        try:
            if retained:
                raise RefusedError("retained")
            command = parse(topic, payload, self._identity.station)
            if command.verb not in self.verbs:
                raise RefusedError("verb")
            self._check_time(command)
        except RefusedError as refusal:
            self.count_refusal(str(refusal), topic)
            return None
        return command

    def _check_time(self, command: Command) -> None:
        left_s = command.expires_s - self._wall()
        if left_s <= 0.0:
            raise RefusedError("expired")
        if left_s > LIFE_S:
            raise RefusedError("too_long")
        if self._nonces.is_used(command.nonce, command.expires_s):
            raise RefusedError("replayed")

    def count_refusal(self, why: str, topic: str) -> None:
        """Count and log a refused command; called from either thread."""
        with self._counting:
            self.refused[why] += 1
            total = self.refused.total()
        if total <= LOGGED_FIRST or total % LOGGED_EVERY == 0:
            log.warning("command %d refused: %s: %.80s", total, why, topic)

    def execute(self, command: Command, now: float) -> Message | None:
        """Verify the signature, store the nonce and execute; return the answer, None if refused.

        Parameters
        ----------
        command :
            A command from `validate`.
        now :
            Monotonic clock [s].
        """
        topic = self._identity.topic(COMMAND, command.verb)
        self._checks = min(CHECKS, self._checks + (now - self._checked_at) * CHECKS_PER_S)
        self._checked_at = now
        try:
            self._check_time(command)  # it may have expired in the queue, or be a duplicate
            if self._checks < 1.0:
                raise RefusedError("busy")
            self._checks -= 1.0
            if not self._is_signed(command):
                raise RefusedError("signature")
            self._nonces.record(command.nonce, command.expires_s, self._wall())
        except RefusedError as refusal:
            self.count_refusal(str(refusal), topic)
            return None
        except OSError as error:
            self.count_refusal("no_memory", topic)
            text = f"the nonce cannot be stored: {error.strerror}"
            return self._answer(command, "failed", text, {})
        self.executed += 1
        log.info("command %s, nonce %s", command.verb, command.nonce)
        try:
            return self._answer(command, "done", "", self.verbs[command.verb](command.args))
        except EpithermalError as error:
            return self._answer(command, "failed", str(error), {})

    def _is_signed(self, command: Command) -> bool:
        try:
            return ed25519.verify(self._key, command.signed, command.signature)
        except ed25519.VerifierError as error:  # must not stop the measurement
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
        """Return the numbers of executed and refused commands since the start."""
        with self._counting:
            return {"obeyed": self.executed, "refused": dict(self.refused)}
