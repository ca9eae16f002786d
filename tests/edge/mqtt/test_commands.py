"""Commands: only what is signed, fresh, for this station and on the list; once, across restarts."""

import json
import subprocess
import sys
import time

import pytest
from tests.support.rig import ROOT, Broker, Subscriber, validator, wait_until
from tests.support.sender import ME, SenderRig, settings
from tests.support.signing import Signer, envelope, stamp

from epithermal_edge.errors import EpithermalError
from epithermal_edge.mqtt import commands
from epithermal_edge.mqtt.commands import Commands, Nonces
from epithermal_edge.signatures import ed25519

PING = "crns/v1/test-1/cmd/ping"


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return Signer(tmp_path_factory.mktemp("keys"))


class Desk:
    """Commands with one verb that counts; its clock is turned by hand."""

    def __init__(self, folder, signer, wall_s=None):
        self.wall_s = time.time() if wall_s is None else wall_s
        key = ed25519.read_public_key(signer.public)
        self.nonces = Nonces(folder / "commands.json", self.wall_s)
        self.commands = Commands(key, ME, self.nonces, lambda: self.wall_s)
        self.commands.verbs = {"ping": self.count, "fail": self.fail}
        self.done = []

    def count(self, args):
        self.done.append(args)
        return {"epoch": ME.epoch, "session": "00000000", "waiting": 0}

    def fail(self, args):
        raise EpithermalError("it is raining")

    def give(self, payload, topic=PING, retained=False, now=0.0):
        """The answer, None when there was none."""
        command = self.commands.screen(topic, payload, retained)
        message = None if command is None else self.commands.obey(command, now)
        return None if message is None else json.loads(message.payload)

    def refused(self):
        return dict(self.commands.refused)


def test_a_good_command_is_obeyed_and_answered(tmp_path, signer):
    desk, payload = Desk(tmp_path, signer), signer.command(args={"a": 1})
    validator("cmd").validate(json.loads(payload))
    validator("cmd-body").validate(json.loads(json.loads(payload)["body"]))
    answer = desk.give(payload)
    validator("res").validate(answer)
    assert desk.done == [{"a": 1}] and answer["outcome"] == "done"
    assert answer["nonce"] == json.loads(json.loads(payload)["body"])["nonce"]


def test_the_same_command_is_not_obeyed_twice_not_even_after_a_restart(tmp_path, signer):
    desk, payload = Desk(tmp_path, signer), signer.command()
    desk.give(payload)
    assert desk.give(payload) is None
    again = Desk(tmp_path, signer)
    assert again.give(payload) is None
    assert len(desk.done) == 1 and again.done == [] and again.refused() == {"replayed": 1}


def test_two_of_the_same_that_wait_together_are_obeyed_once(tmp_path, signer):
    desk, payload = Desk(tmp_path, signer), signer.command()
    both = [desk.commands.screen(PING, payload, False) for _ in range(2)]
    assert [desk.commands.obey(c, 0.0) is None for c in both] == [False, True]
    assert len(desk.done) == 1


def test_a_clock_that_goes_back_brings_no_command_back(tmp_path, signer):
    desk, payload = Desk(tmp_path, signer), signer.command()
    desk.give(payload)
    desk.wall_s += 2 * 3600.0
    later = signer.command(left_s=2.5 * 3600.0)
    assert desk.give(later)["outcome"] == "done"  # the first one is forgotten now
    again = Desk(tmp_path, signer)
    assert again.give(payload) is None and again.refused() == {"replayed": 1}


@pytest.mark.parametrize(
    ("over", "why"),
    [
        ({"left_s": -1.0}, "expired"),
        ({"left_s": 2 * 3600.0}, "too_long"),
        ({"station": "test-2", "topic": PING}, "station"),
        ({"verb": "shutdown", "topic": PING}, "topic"),
        ({"nonce": "0123"}, "malformed"),
        ({"nonce": 12}, "malformed"),
        ({"expires": "tomorrow"}, "malformed"),
        ({"expires": "2026-02-30T00:00:00Z"}, "malformed"),
        ({"args": []}, "malformed"),
        ({"extra": 1}, "malformed"),
        ({"args": {"fill": "x" * 2048}}, "oversized"),
        ({"topic": "crns/v1/test-1/cmd/announce"}, "signature"),  # signed for another topic
    ],
)
def test_a_signed_command_that_is_not_for_here_and_now_is_refused(tmp_path, signer, over, why):
    desk = Desk(tmp_path, signer)
    assert desk.give(signer.command(**over)) is None
    assert desk.done == [] and desk.refused() == {why: 1}


def test_what_is_retained_or_not_on_the_list_is_refused(tmp_path, signer):
    desk = Desk(tmp_path, signer)
    assert desk.give(signer.command(), retained=True) is None
    assert desk.give(signer.command("reboot"), "crns/v1/test-1/cmd/reboot") is None
    assert desk.done == [] and desk.refused() == {"retained": 1, "verb": 1}


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"[]", b"null", b"1", b"\xff\xfe", b'{"v":1}', b'{"v":1,"body":"{}","sig":""}',
        b'{"v":1,"body":{},"sig":""}', b'{"v":1,"body":"[]","sig":1}', b"[" * 2000,
        b'{"v":2,"body":"{}","sig":"AA=="}', b'{"v":1,"body":"' + b"[" * 1500 + b'","sig":""}',
    ],
)  # fmt: skip
def test_what_is_no_command_is_refused_without_a_word(tmp_path, signer, payload):
    desk = Desk(tmp_path, signer)
    assert desk.give(payload) is None and desk.refused() == {"malformed": 1}


def test_another_key_a_changed_body_and_no_signature_are_refused(tmp_path, signer):
    desk, good = Desk(tmp_path, signer), json.loads(signer.command())
    stranger = Signer(tmp_path, "stranger").command()
    changed = json.dumps({**good, "body": good["body"].replace("ping", "ping ").strip()})
    later = good["body"].replace(good["body"].split('"nonce": "')[1][:2], "00", 1)
    assert desk.give(stranger) is None
    assert desk.give(json.dumps({**good, "body": later}).encode()) is None
    assert desk.give(changed.encode()) is None
    assert desk.give(envelope(good["body"], b"")) is None
    assert desk.done == []
    assert desk.refused()["unsigned"] == 1 and desk.refused()["signature"] >= 2


def test_a_verb_that_fails_says_why(tmp_path, signer):
    answer = Desk(tmp_path, signer).give(signer.command("fail"), "crns/v1/test-1/cmd/fail")
    assert (answer["outcome"], answer["text"]) == ("failed", "it is raining")


def test_a_nonce_that_cannot_be_kept_forbids_the_command(tmp_path, signer):
    desk = Desk(tmp_path / "gone", signer)
    answer = desk.give(signer.command())
    validator("res").validate(answer)
    assert desk.done == [] and answer["outcome"] == "failed" and "remembered" in answer["text"]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"v":1,"crc32":0,"content":"[null,{}]"}'])
def test_a_damaged_memory_forbids_all_that_was_signed_before(tmp_path, signer, damage):
    (tmp_path / "commands.json").write_bytes(damage)
    desk = Desk(tmp_path, signer)
    assert desk.give(signer.command()) is None and desk.refused() == {"replayed": 1}
    desk.wall_s += commands.LIFE_S  # what is signed from now on is good
    assert desk.give(signer.command(left_s=commands.LIFE_S + 600.0))["outcome"] == "done"


def test_every_flipped_bit_of_the_memory_is_noticed_or_harmless(tmp_path, signer):
    desk, payload = Desk(tmp_path, signer), signer.command()
    desk.give(payload)
    path = tmp_path / "commands.json"
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 7):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert Desk(tmp_path, signer).give(payload) is None, bit


def test_the_memory_of_nonces_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "NONCES", 16)
    nonces, wall_s = Nonces(tmp_path / "commands.json", 0.0), 1e9
    for i in range(40):
        nonces.use(f"{i:032x}", wall_s + 60.0 + i, wall_s)
    assert all(nonces.knows(f"{i:032x}", wall_s + 60.0 + i) for i in range(40))
    assert (tmp_path / "commands.json").stat().st_size < 16 * 64 + 100


def test_forgeries_cost_a_bounded_number_of_signature_checks(tmp_path, signer, monkeypatch):
    checked = []
    real = ed25519.verify
    monkeypatch.setattr(commands.ed25519, "verify", lambda *x: checked.append(x) or real(*x))
    desk = Desk(tmp_path, signer)
    body = {"station": "test-1", "verb": "ping", "expires": stamp(desk.wall_s + 600.0)}
    for i in range(300):
        forged = envelope(json.dumps({**body, "nonce": f"{i:032x}"}), bytes(64))
        assert desk.give(forged, now=i / 100.0) is None
    assert len(checked) <= commands.CHECKS + 3 * commands.CHECKS_PER_S + 1
    assert desk.give(signer.command(), now=60.0)["outcome"] == "done"


def test_a_damaged_installation_obeys_nothing_and_says_why(tmp_path, signer, monkeypatch, caplog):
    desk = Desk(tmp_path, signer)
    with monkeypatch.context() as damage:
        damage.setitem(sys.modules, "cryptography.exceptions", None)
        assert desk.give(signer.command()) is None
    assert desk.refused() == {"signature": 1} and desk.done == []
    assert "no signature can be verified: cryptography: " in caplog.text
    assert desk.give(signer.command())["outcome"] == "done"


def test_commands_come_and_answers_go_over_a_real_broker(tmp_path, signer):
    broker = Broker(tmp_path)
    ears = Subscriber(broker.port)
    key = ed25519.read_public_key(signer.public)
    mine = Commands(key, ME, Nonces(tmp_path / "commands.json", time.time()), time.time)
    rig = SenderRig(tmp_path, settings(broker.port), commands=mine)
    rig.turn_until(rig.connected)
    ears.publish(PING, signer.command())
    rig.turn_until(lambda: len(ears.of("res/ping")) == 1)
    (answer,) = ears.of("res/ping")
    validator("res").validate(answer)
    assert answer["result"]["session"] == rig.sender._link.session
    before = len(ears.of("meta"))
    ears.publish("crns/v1/test-1/cmd/announce", signer.command("announce"))
    rig.turn_until(lambda: len(ears.of("res/announce")) == 1 and len(ears.of("meta")) > before)
    assert rig.sender.health()["commands"] == {"obeyed": 2, "refused": {}}
    wait_until(lambda: len(ears.of("status")) == 1)
    rig.close()
    ears.close()
    broker.stop()


@pytest.mark.parametrize(
    ("verb", "more"), [("ping", []), ("fail", []), ("ping", ['{"first":1,"last":2}', "crns/v1"])]
)
def test_the_script_in_deploy_signs_what_the_station_obeys(tmp_path, signer, verb, more):
    script = [ROOT / "deploy" / "sign-command.sh", signer.secret, "test-1", verb, *more]
    payload = subprocess.run(script, check=True, capture_output=True, timeout=60).stdout.strip()
    validator("cmd").validate(json.loads(payload))
    desk = Desk(tmp_path, signer)
    answer = desk.give(payload, f"crns/v1/test-1/cmd/{verb}")
    assert desk.done == ([] if verb == "fail" else [json.loads(more[0]) if more else {}])
    assert answer["outcome"] == {"ping": "done", "fail": "failed"}[verb]


def test_without_a_key_nothing_is_subscribed_to(tmp_path, signer):
    broker = Broker(tmp_path)
    ears, rig = Subscriber(broker.port), SenderRig(tmp_path, settings(broker.port))
    rig.turn_until(rig.connected)
    ears.publish(PING, signer.command())
    rig.turn_for(0.3)
    assert ears.of("res/ping") == [] and "commands" not in rig.sender.health()
    rig.close()
    ears.close()
    broker.stop()
