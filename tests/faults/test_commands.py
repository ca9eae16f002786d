"""Thousands of hostile commands over a real broker: none is executed, a good one still is."""

import json
import random
import secrets
import time

import psutil
from tests.faults.size import size
from tests.support.rig import Broker, Subscriber, validator, wait_until
from tests.support.sender import ME, SenderRig, settings
from tests.support.signing import Signer, envelope, stamp

from epithermal_edge.mqtt.commands import Commands, Nonces
from epithermal_edge.signatures import ed25519

SEED = 6
PING = "crns/v1/test-1/cmd/ping"
WORSE = {  # commands that would do most harm
    "republish": {"first": 1, "last": 1000},
    "restart": {},
    "model_rollback": {},
}
BATCH = 500  # published together
FLAT_BYTES = 2_000_000


class Attacker:
    """Generator of hostile commands (topic, payload, retain) from good ones."""

    def __init__(self, signer, stranger, used):
        self._rng = random.Random(SEED)
        self._signer, self._stranger, self._used = signer, stranger, used
        good = [signer.command() for _ in range(5)]
        self._pool = {
            "replayed": [(PING, p, False) for p in used],
            "retained": [(PING, p, True) for p in good],
            "expired": [(PING, signer.command(left_s=-s), False) for s in (1, 60, 86400)],
            "too_long": [(PING, signer.command(left_s=1e6), False)],
            "station": [(PING, signer.command(station="test-2", topic=PING), False)],
            "topic": [("crns/v1/test-1/cmd/announce", p, False) for p in good[:1]],
            "verb": [("crns/v1/test-1/cmd/reboot", signer.command("reboot"), False)],
            "oversized": [(PING, signer.command(args={"x": "y" * n}), False) for n in (2100, 7000)],
            "stranger": [(PING, stranger.command(), False) for _ in range(5)],
            "worse": [
                (f"crns/v1/test-1/cmd/{verb}", payload, retain)
                for verb, args in WORSE.items()
                for payload, retain in (
                    (stranger.command(verb, args=args), False),
                    (signer.command(verb, args=args), True),
                    (signer.command(verb, args=args, left_s=-1.0), False),
                    (signer.command(verb, args=args, topic=PING), False),
                )
            ],
            "empty": [(PING, b"", False), (PING, b"{}", False), (PING, b"[" * 2000, False)],
        }

    def next(self):
        """Return another command of a random kind."""
        kind = self._rng.choice([*self._pool, "forged", "forged", "noise", "flipped"])
        if kind in self._pool:
            return self._rng.choice(self._pool[kind])
        if kind == "noise":
            return PING, self._rng.randbytes(self._rng.randrange(300)), False
        if kind == "flipped":  # one bit of a good command that was executed
            payload = bytearray(self._rng.choice(self._used))
            bit = self._rng.randrange(8 * len(payload))
            payload[bit // 8] ^= 1 << bit % 8
            return PING, bytes(payload), False
        body = {"station": "test-1", "verb": "ping", "nonce": self._rng.randbytes(16).hex()}
        body["expires"] = stamp(time.time() + 600.0)
        return PING, envelope(json.dumps(body), self._rng.randbytes(64)), False


def open_rig(folder, broker, signer):
    nonces = Nonces(folder / "commands.json", time.time())
    mine = Commands(ed25519.read_public_key(signer.public), ME, nonces, time.time)
    ended = []  # commands that would end a station
    verbs = {v: lambda args: ended.append(args) or {} for v in ("restart", "model_rollback")}
    rig = SenderRig(folder, settings(broker.port), commands=mine, verbs=verbs)
    assert {*WORSE} < {*mine.verbs}
    rig.turn_until(lambda: rig.connected() and not rig.sender._subscriptions.is_pending)
    return rig, mine, ended


def test_none_of_many_hostile_commands_is_obeyed(tmp_path, record_property):
    count = size(3_000, 100_000)
    broker = Broker(tmp_path)
    ears = Subscriber(broker.port, "crns/v1/test-1/res/#")
    signer, stranger = Signer(tmp_path), Signer(tmp_path, "stranger")
    rig, mine, ended = open_rig(tmp_path, broker, signer)
    used = [signer.command() for _ in range(5)]
    for payload in used:
        ears.publish(PING, payload)
    rig.turn_until(lambda: len(ears.of("res/ping")) == len(used))
    attacker, sent, before, begun = Attacker(signer, stranger, used), 0, None, time.monotonic()
    while sent < count:
        for _ in range(BATCH):
            ears.publish(*attacker.next())
        sent += BATCH
        rig.turn_until(lambda: mine.refused.total() >= sent)  # noqa: B023
        if before is None:
            before = psutil.Process().memory_info().rss
    grown = psutil.Process().memory_info().rss - before
    record_property("seed", SEED)
    record_property("hostile_commands", sent)
    record_property("hostile_obeyed", mine.executed - len(used))
    record_property("hostile_refused", dict(mine.refused))
    record_property("hostile_per_s", round(sent / (time.monotonic() - begun)))
    record_property("hostile_rss_growth_bytes", grown)
    assert mine.executed == len(used) and mine.refused.total() == sent and ended == []
    assert len(ears.of("res/ping")) == len(used)  # without a valid signature there is no answer
    assert {"retained", "replayed", "expired", "station", "oversized", "malformed"} <= {
        *mine.refused
    }
    assert grown < FLAT_BYTES
    rig.turn_for(1.0)  # the rate limit allows signature checks again
    ears.publish(PING, signer.command())
    rig.turn_until(lambda: len(ears.of("res/ping")) == len(used) + 1)
    validator("health").validate(
        {"v": 1, "station": "test-1", "sender": rig.sender.health(), "reader": None}
    )
    rig.close()
    # after a restart the broker sends the retained commands, and the used ones are replayed
    assert ended == []
    rig, mine, ended = open_rig(tmp_path, broker, signer)
    for payload in used:
        ears.publish(PING, payload)
    rig.turn_until(lambda: mine.refused["replayed"] == len(used))
    rig.turn_for(0.2)
    assert mine.executed == 0 and ended == []
    rig.close()
    ears.close()
    broker.stop()


def test_what_is_retained_at_a_broker_of_3_1_1_is_refused_too(tmp_path):
    broker = Broker(tmp_path)
    ears, signer = Subscriber(broker.port, "crns/v1/test-1/res/#"), Signer(tmp_path)
    payload = signer.command(nonce=secrets.token_hex(16))
    ears.publish(PING, payload, retain=True).wait_for_publish(
        30.0
    )  # else it would arrive as a live message
    later = Subscriber(broker.port, "crns/v1/test-1/cmd/#")
    wait_until(lambda: len(later.retained) == 1)
    later.close()
    mine = Commands(
        ed25519.read_public_key(signer.public),
        ME,
        Nonces(tmp_path / "commands.json", time.time()),
        time.time,
    )
    rig = SenderRig(tmp_path, settings(broker.port, version="3.1.1"), commands=mine)
    rig.turn_until(lambda: mine.refused["retained"] == 1)
    ears.publish(PING, signer.command())
    rig.turn_until(lambda: len(ears.of("res/ping")) == 1)
    assert mine.executed == 1
    rig.close()
    ears.close()
    broker.stop()
