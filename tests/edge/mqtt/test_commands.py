"""Test commands: only signed, fresh, listed ones for this station run; once, across restarts."""

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


class CommandRig:
    """Commands with a verb that counts calls; the test sets the clock."""

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

    def handle(self, payload, topic=PING, retained=False, now=0.0):
        """Handle a payload; return the answer, None without one."""
        command = self.commands.validate(topic, payload, retained)
        message = None if command is None else self.commands.execute(command, now)
        return None if message is None else json.loads(message.payload)

    def refused(self):
        return dict(self.commands.refused)


def test_a_valid_command_is_executed_and_answered(tmp_path, signer):
    rig, payload = CommandRig(tmp_path, signer), signer.command(args={"a": 1})
    validator("cmd").validate(json.loads(payload))
    validator("cmd-body").validate(json.loads(json.loads(payload)["body"]))
    answer = rig.handle(payload)
    validator("res").validate(answer)
    assert rig.done == [{"a": 1}] and answer["outcome"] == "done"
    assert answer["nonce"] == json.loads(json.loads(payload)["body"])["nonce"]


def test_a_command_is_not_executed_twice_even_after_a_restart(tmp_path, signer):
    rig, payload = CommandRig(tmp_path, signer), signer.command()
    rig.handle(payload)
    assert rig.handle(payload) is None
    again = CommandRig(tmp_path, signer)
    assert again.handle(payload) is None
    assert len(rig.done) == 1 and again.done == [] and again.refused() == {"replayed": 1}


def test_after_a_restart_new_commands_are_executed(tmp_path, signer):
    CommandRig(tmp_path, signer).handle(signer.command())
    again = CommandRig(tmp_path, signer)
    assert again.handle(signer.command())["outcome"] == "done" and again.refused() == {}


def test_two_queued_copies_of_a_command_are_executed_once(tmp_path, signer):
    rig, payload = CommandRig(tmp_path, signer), signer.command()
    both = [rig.commands.validate(PING, payload, False) for _ in range(2)]
    assert [rig.commands.execute(c, 0.0) is None for c in both] == [False, True]
    assert len(rig.done) == 1


def test_a_clock_that_is_set_back_revives_no_command(tmp_path, signer):
    rig, payload = CommandRig(tmp_path, signer), signer.command()
    rig.handle(payload)
    rig.wall_s += 2 * 3600.0
    later = signer.command(left_s=2.5 * 3600.0)
    assert rig.handle(later)["outcome"] == "done"  # the first nonce is deleted now
    again = CommandRig(tmp_path, signer)
    assert again.handle(payload) is None and again.refused() == {"replayed": 1}


def test_nonces_that_expire_out_of_order_stay_used(tmp_path):
    nonces, wall_s = Nonces(tmp_path / "commands.json", 0.0), 1e9
    nonces.record("a" * 32, wall_s + 60.0, wall_s)
    nonces.record("b" * 32, wall_s + 30.0, wall_s)
    nonces.record("c" * 32, wall_s + 900.0, wall_s + 100.0)  # the others are deleted now
    again = Nonces(tmp_path / "commands.json", 0.0)
    assert again.is_used("a" * 32, wall_s + 60.0) and again.is_used("b" * 32, wall_s + 30.0)
    assert not again.is_used("d" * 32, wall_s + 61.0)


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
def test_a_signed_command_for_another_place_or_time_is_refused(tmp_path, signer, over, why):
    rig = CommandRig(tmp_path, signer)
    assert rig.handle(signer.command(**over)) is None
    assert rig.done == [] and rig.refused() == {why: 1}


def test_a_command_in_the_second_of_its_expiry_is_refused(tmp_path, signer):
    rig, payload = CommandRig(tmp_path, signer, wall_s=1e9), signer.command(expires=stamp(1e9))
    assert rig.handle(payload) is None and rig.refused() == {"expired": 1}


def test_a_signature_with_characters_that_are_not_base64_is_refused(tmp_path, signer):
    rig, good = CommandRig(tmp_path, signer), json.loads(signer.command())
    assert rig.handle(json.dumps({**good, "sig": "\n" + good["sig"]}).encode()) is None
    assert rig.done == [] and rig.refused() == {"malformed": 1}


def test_a_flood_of_refusals_is_logged_sparingly(tmp_path, signer, caplog):
    rig = CommandRig(tmp_path, signer)
    for _ in range(2500):
        rig.commands.count_refusal("malformed", PING)
    logged = [int(record.getMessage().split()[1]) for record in caplog.records]
    assert logged == [*range(1, 21), 1000, 2000]


def test_a_retained_or_unlisted_command_is_refused(tmp_path, signer):
    rig = CommandRig(tmp_path, signer)
    assert rig.handle(signer.command(), retained=True) is None
    assert rig.handle(signer.command("reboot"), "crns/v1/test-1/cmd/reboot") is None
    assert rig.done == [] and rig.refused() == {"retained": 1, "verb": 1}


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"[]", b"null", b"1", b"\xff\xfe", b'{"v":1}', b'{"v":1,"body":"{}","sig":""}',
        b'{"v":1,"body":{},"sig":""}', b'{"v":1,"body":"[]","sig":1}', b"[" * 2000,
        b'{"v":2,"body":"{}","sig":"AA=="}', b'{"v":1,"body":"' + b"[" * 1500 + b'","sig":""}',
    ],
)  # fmt: skip
def test_a_malformed_command_is_refused_silently(tmp_path, signer, payload):
    rig = CommandRig(tmp_path, signer)
    assert rig.handle(payload) is None and rig.refused() == {"malformed": 1}


def test_a_foreign_key_a_changed_body_or_no_signature_is_refused(tmp_path, signer):
    rig, good = CommandRig(tmp_path, signer), json.loads(signer.command())
    stranger = Signer(tmp_path, "stranger").command()
    changed = json.dumps({**good, "body": good["body"].replace("ping", "ping ").strip()})
    nonce = json.loads(good["body"])["nonce"]
    later = good["body"].replace(nonce, nonce[:-1] + ("0" if nonce[-1] != "0" else "1"))
    assert rig.handle(stranger) is None
    assert rig.handle(json.dumps({**good, "body": later}).encode()) is None
    assert rig.handle(changed.encode()) is None
    assert rig.handle(envelope(good["body"], b"")) is None
    assert rig.done == []
    assert rig.refused()["unsigned"] == 1 and rig.refused()["signature"] >= 2


def test_a_failed_command_reports_the_reason(tmp_path, signer):
    answer = CommandRig(tmp_path, signer).handle(signer.command("fail"), "crns/v1/test-1/cmd/fail")
    assert (answer["outcome"], answer["text"]) == ("failed", "it is raining")


def test_a_nonce_that_cannot_be_stored_forbids_the_command(tmp_path, signer):
    rig = CommandRig(tmp_path / "gone", signer)
    answer = rig.handle(signer.command())
    validator("res").validate(answer)
    assert rig.done == [] and answer["outcome"] == "failed" and "cannot be stored" in answer["text"]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"v":1,"crc32":0,"content":"[null,{}]"}'])
def test_a_damaged_nonce_file_forbids_all_commands_signed_before(tmp_path, signer, damage):
    (tmp_path / "commands.json").write_bytes(damage)
    rig = CommandRig(tmp_path, signer)
    assert rig.handle(signer.command()) is None and rig.refused() == {"replayed": 1}
    rig.wall_s += commands.LIFE_S  # commands signed from now on are valid
    assert rig.handle(signer.command(left_s=commands.LIFE_S + 600.0))["outcome"] == "done"


def test_every_flipped_bit_of_the_nonce_file_is_detected_or_harmless(tmp_path, signer):
    rig, payload = CommandRig(tmp_path, signer), signer.command()
    rig.handle(payload)
    path = tmp_path / "commands.json"
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 7):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert CommandRig(tmp_path, signer).handle(payload) is None, bit


def test_the_nonce_file_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "NONCES", 16)
    nonces, wall_s = Nonces(tmp_path / "commands.json", 0.0), 1e9
    for i in range(40):
        nonces.record(f"{i:032x}", wall_s + 60.0 + i, wall_s)
    assert all(nonces.is_used(f"{i:032x}", wall_s + 60.0 + i) for i in range(40))
    assert (tmp_path / "commands.json").stat().st_size < 16 * 64 + 100


def test_few_nonces_are_all_stored_and_forbid_no_other_command(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "NONCES", 16)
    nonces, wall_s = Nonces(tmp_path / "commands.json", 0.0), 1e9
    for i in range(16):
        nonces.record(f"{i:032x}", wall_s + 600.0 + i, wall_s)
    assert not nonces.is_used("f" * 32, wall_s + 300.0)


def test_forgeries_cost_a_bounded_number_of_signature_checks(tmp_path, signer, monkeypatch):
    checked = []
    real = ed25519.verify
    monkeypatch.setattr(commands.ed25519, "verify", lambda *x: checked.append(x) or real(*x))
    rig = CommandRig(tmp_path, signer)
    body = {"station": "test-1", "verb": "ping", "expires": stamp(rig.wall_s + 600.0)}
    for i in range(300):
        forged = envelope(json.dumps({**body, "nonce": f"{i:032x}"}), bytes(64))
        assert rig.handle(forged, now=i / 100.0) is None
    assert len(checked) <= commands.CHECKS + 3 * commands.CHECKS_PER_S + 1
    assert rig.handle(signer.command(), now=60.0)["outcome"] == "done"


def test_a_quiet_hour_saves_no_signature_checks_for_a_flood(tmp_path, signer, monkeypatch):
    checked = []
    monkeypatch.setattr(commands.ed25519, "verify", lambda *x: checked.append(x) or False)
    rig = CommandRig(tmp_path, signer)
    body = {"station": "test-1", "verb": "ping", "expires": stamp(rig.wall_s + 600.0)}
    for i in range(100):
        forged = envelope(json.dumps({**body, "nonce": f"{i:032x}"}), bytes(64))
        assert rig.handle(forged, now=3600.0) is None
    assert len(checked) == commands.CHECKS


def test_a_damaged_installation_executes_nothing_and_logs_the_reason(
    tmp_path, signer, monkeypatch, caplog
):
    rig = CommandRig(tmp_path, signer)
    with monkeypatch.context() as damage:
        damage.setitem(sys.modules, "cryptography.exceptions", None)
        assert rig.handle(signer.command()) is None
    assert rig.refused() == {"signature": 1} and rig.done == []
    assert "no signature can be verified: cryptography: " in caplog.text
    assert rig.handle(signer.command())["outcome"] == "done"


def test_commands_and_answers_pass_a_real_broker(tmp_path, signer):
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
def test_the_script_in_deploy_signs_valid_commands(tmp_path, signer, verb, more):
    script = [ROOT / "deploy" / "sign-command.sh", signer.secret, "test-1", verb, *more]
    payload = subprocess.run(script, check=True, capture_output=True, timeout=300).stdout.strip()
    validator("cmd").validate(json.loads(payload))
    rig = CommandRig(tmp_path, signer)
    answer = rig.handle(payload, f"crns/v1/test-1/cmd/{verb}")
    assert rig.done == ([] if verb == "fail" else [json.loads(more[0]) if more else {}])
    assert answer["outcome"] == {"ping": "done", "fail": "failed"}[verb]


def test_without_a_key_commands_are_not_subscribed(tmp_path, signer):
    broker = Broker(tmp_path)
    ears, rig = Subscriber(broker.port), SenderRig(tmp_path, settings(broker.port))
    rig.turn_until(rig.connected)
    ears.publish(PING, signer.command())
    rig.turn_for(0.3)
    assert ears.of("res/ping") == [] and "commands" not in rig.sender.health()
    rig.close()
    ears.close()
    broker.stop()
