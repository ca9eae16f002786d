"""Commands to republish, restart and roll back: signed by an operator, executed by a daemon."""

import json
import shutil
import time

import pytest
from tests.support.rig import (
    BUNDLE,
    Broker,
    Daemon,
    Line,
    Subscriber,
    lines,
    station_toml,
    validator,
)
from tests.support.rig import wait_until as until
from tests.support.sender import ME, SenderRig, settings
from tests.support.signing import Signer

from epithermal_edge.errors import EpithermalError
from epithermal_edge.inference.bundle import manifest_text
from epithermal_edge.messages.topics import COMMAND, OBS_THETA
from epithermal_edge.mqtt import republish
from epithermal_edge.mqtt.commands import Commands, Nonces
from epithermal_edge.mqtt.republish import Republisher
from epithermal_edge.signatures import ed25519

HEADER, *LINES = lines(10.0)


def with_version(folder, number):
    """Copy the test bundle under another version."""
    path = folder / f"bucket-{number}"
    shutil.copytree(BUNDLE, path)
    text = (path / "bundle.toml").read_text().replace('version = "0.1.0"', f'version = "{number}"')
    (path / "bundle.toml").write_text(text)
    files = {p.name: p.read_bytes() for p in path.iterdir() if p.name != "MANIFEST"}
    (path / "MANIFEST").write_text(manifest_text(files))


class Commanded:
    """A station that accepts commands, its broker and its operator."""

    def __init__(self, folder):
        self.broker, self.signer = Broker(folder), Signer(folder)
        self.ears, self.line = Subscriber(self.broker.port), Line()
        models = folder / "models"
        for number in ("0.1.1", "0.1.2"):
            with_version(models, number)
        (models / "previous").symlink_to("bucket-0.1.1")
        (models / "current").symlink_to("bucket-0.1.2")
        self.toml = station_toml(
            folder,
            url=self.line.name,
            port=self.broker.port,
            bundle=models / "current",
            mqtt='command_key_file = "command.pub"\n',
        )
        self.daemon = Daemon(self.toml).ready()
        until(lambda: any(p["state"] == "online" for p in self.ears.of("status")))

    def command(self, verb, **args):
        """Send a signed command and return the answer."""
        before = len(self.ears.of(f"res/{verb}"))
        payload = self.signer.command(verb, args=args)
        validator("cmd-body").validate(json.loads(json.loads(payload)["body"]))
        self.ears.publish(f"crns/v1/test-1/cmd/{verb}", payload)
        until(lambda: len(self.ears.of(f"res/{verb}")) > before, what=f"the answer to {verb}")
        answer = self.ears.of(f"res/{verb}")[-1]
        validator("res").validate(answer)
        return answer

    def bodies(self):
        """Return the payloads of obs/theta in order of arrival."""
        return [p for t, p in self.ears.messages if t.endswith("/obs/theta")]

    def starts(self):
        return [p["session"] for p in self.ears.of("status") if p["state"] == "online"]

    def close(self):
        self.daemon.kill()
        self.line.close()
        self.ears.close()
        self.broker.stop()


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    station = Commanded(tmp_path_factory.mktemp("commanded"))
    yield station
    station.close()


def test_published_records_are_republished_byte_for_byte_beside_the_live_one(station):
    station.line.write(HEADER + b"".join(LINES[:200]))
    until(lambda: len(station.bodies()) == 200)
    first = station.bodies()
    assert station.command("republish", first=11, last=110)["result"] == {"records": 100}
    refused = station.command("republish", first=1, last=2)
    assert refused["outcome"] == "failed" and "another range is under way" in refused["text"]
    station.line.write(LINES[200])
    until(lambda: len(station.bodies()) == 301)
    again = station.bodies()[200:]
    live = [body for body in again if json.loads(body)["id"].endswith(":201")]
    assert len(live) == 1
    assert [body for body in again if body not in live] == first[10:110]
    end = {json.loads(body)["id"].split(":")[2]: json.loads(body)["end"] for body in first}
    reply = station.command("republish", **{"from": end["50"], "to": end["60"]})
    assert reply["result"] == {"records": 10}  # later than `from`, not later than `to`
    until(lambda: len(station.bodies()) == 311)
    assert station.bodies()[301:] == first[50:60]


def test_a_restart_is_answered_and_begins_again_with_the_next_number(station):
    before, process = station.starts(), station.daemon.process
    assert station.command("restart")["outcome"] == "done"
    until(lambda: len(station.starts()) > len(before), station.daemon.log())
    assert station.starts()[-1] not in before and process.poll() is None
    states = [p["state"] for p in station.ears.of("status")]
    assert states[-2:] == ["stopped", "online"], "in order, without a last will"
    until(lambda: station.daemon.log().count(" is open") == len(before) + 1)
    received = len(station.bodies())
    station.line.write(HEADER + LINES[201])
    until(lambda: len(station.bodies()) == received + 1)
    assert json.loads(station.bodies()[-1])["id"].endswith(":202")


def test_a_station_that_could_not_start_again_goes_on(station):
    good, before = station.toml.read_text(), station.starts()
    station.toml.write_text(good.replace("altitude_m", "altitude"))
    refused = station.command("restart")
    assert refused["outcome"] == "failed" and "site.altitude" in refused["text"]
    station.toml.write_text(good)
    assert station.command("ping")["outcome"] == "done" and station.starts() == before


def test_a_roll_back_begins_again_with_the_model_of_before(station):
    before = station.starts()
    answer = station.command("model_rollback")
    assert (answer["outcome"], answer["result"]["version"]) == ("done", "0.1.1")
    until(lambda: len(station.starts()) > len(before), station.daemon.log())
    until(lambda: station.daemon.log().count(" is open") == len(before) + 1)
    received = len(station.bodies())
    station.line.write(HEADER + LINES[202])
    until(lambda: len(station.bodies()) == received + 1)
    assert json.loads(station.bodies()[-1])["model"]["version"] == "0.1.1"


def test_a_roll_back_to_a_damaged_model_changes_nothing(station):
    before = station.starts()
    victim = station.toml.parent / "models" / "bucket-0.1.2" / "golden.csv"
    victim.write_bytes(victim.read_bytes() + b" ")
    refused = station.command("model_rollback")
    assert refused["outcome"] == "failed" and "golden.csv" in refused["text"]
    assert station.command("ping")["outcome"] == "done" and station.starts() == before


@pytest.mark.parametrize(
    "args",
    [
        *({}, {"first": 1}, {"first": 0, "last": 3}, {"first": 3, "last": 2}, {"last": 2}),
        *({"first": True, "last": 2}, {"first": "1", "last": 2}, {"first": 1, "last": 1 << 60}),
        {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        {"from": "2026-01-01T00:00:00", "to": "2026-02-01T00:00:00Z"},
        {"from": 1, "to": 2},
        {"first": 1, "last": 2, "from": "2026-01-01T00:00:00Z"},
    ],
)
def test_what_is_no_range_is_refused_and_why(tmp_path, args):
    rig = SenderRig(tmp_path, settings(1))
    with pytest.raises(EpithermalError, match="args must be"):
        Republisher(rig.journal, ME).start(args)
    rig.close()


def store_published(journal, count):
    """Store records whose payloads have been delivered."""
    for seq in range(1, count + 1):
        journal._db.transaction(
            lambda seq=seq: (
                journal._db.insert("record", "seq, end_s, crc32", (seq, seq * 3600.0, 0)),
                journal._db.insert("told", "seq, payload, crc32", _row(seq)),
            )
        )


def _row(seq):
    from epithermal_edge.journal.rows import payload_row

    return payload_row(seq, b"%d" % seq)


def test_a_range_goes_in_portions_and_on_after_a_restart(tmp_path):
    rig = SenderRig(tmp_path, settings(1))
    journal = rig.journal
    store_published(journal, 300)
    again = Republisher(journal, ME)
    assert again.start({"first": 1, "last": 300}) == {"records": 300}
    received, now = [], 0.0
    journal.post([ME.message(OBS_THETA, b"live")])
    while len(received) < 301:
        now += republish.EACH_S
        again.post_portion(now)
        again.post_portion(now + 0.01)  # too early
        out = journal.next_outgoing(0, 1000, newest=False)
        assert 0 < len(out) <= republish.PORTION + 1
        received += [o.message.payload for o in out]
        journal.delete_outgoing([o.id for o in out])
        again = Republisher(journal, ME)  # the process begins again
    assert received == [b"live", *(b"%d" % n for n in range(1, 301))]
    again.post_portion(now + 1.0)
    assert journal.count_waiting() == 0 and journal.get_values(republish.KEY) == {}
    rig.close()


def test_a_range_waits_while_the_broker_is_away(tmp_path):
    rig = SenderRig(tmp_path, settings(1))
    store_published(rig.journal, 300)
    again = Republisher(rig.journal, ME)
    again.start({"first": 1, "last": 300})
    for now in range(1, 50):
        again.post_portion(float(now))
    assert rig.journal.count_waiting() == republish.PORTION
    rig.close()


def test_a_damaged_payload_is_left_out_and_a_damaged_range_forgotten(tmp_path):
    rig = SenderRig(tmp_path, settings(1))
    journal = rig.journal
    store_published(journal, 5)
    journal._db.rows("UPDATE told SET payload = x'00' WHERE seq = 3")
    again = Republisher(journal, ME)
    again.start({"first": 1, "last": 5})
    again.post_portion(1.0)
    bodies = [o.message.payload for o in journal.next_outgoing(0, 10, newest=False)]
    assert bodies == [b"1", b"2", b"4", b"5"]
    journal.put_values({republish.KEY: '{"after":"x"}'})
    assert Republisher(journal, ME)._range is None
    rig.close()


def test_commands_that_end_a_station_need_a_signature(tmp_path):
    signer, stranger, ended = Signer(tmp_path), Signer(tmp_path, "stranger"), []
    nonces = Nonces(tmp_path / "commands.json", time.time())
    mine = Commands(ed25519.read_public_key(signer.public), ME, nonces, time.time)
    verbs = {v: lambda args: ended.append(args) or {} for v in ("restart", "model_rollback")}
    rig = SenderRig(tmp_path, settings(1), commands=mine, verbs=verbs)
    assert {*mine.verbs} == {"ping", "announce", "republish", "restart", "model_rollback"}
    for verb in mine.verbs:
        topic = ME.topic(COMMAND, verb)
        command = mine.validate(topic, stranger.command(verb), False)
        assert mine.execute(command, 100.0) is None
    assert ended == [] and mine.refused["signature"] == len(mine.verbs)
    rig.close()
