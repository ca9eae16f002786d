"""Test TLS against a real mosquitto: which stations are accepted, and which error others get."""

import subprocess

import pytest
from tests.support.certificates import Authority
from tests.support.rig import Broker, wait_until
from tests.support.sender import ME, SenderRig, settings

from epithermal_edge.messages.topics import OBS_THETA
from epithermal_edge.mqtt.connection import Disconnected

RULES = """
allow_anonymous false
cafile {ca}
certfile {cert}
keyfile {key}
require_certificate true
use_identity_as_username true
acl_file {acl}
"""
PAHO_LEAVES_THE_SOCKET = pytest.mark.filterwarnings(  # to be closed with the last reference
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


class Tls:
    """A broker that asks for client certificates and lets each station write its own topics."""

    def __init__(self, folder):
        self.folder, self.authority = folder, Authority(folder)
        cert, key = self.authority.issue("broker", "IP:127.0.0.1")
        acl = folder / "acl"
        acl.write_text("pattern readwrite crns/v1/%u/#\n")
        rules = RULES.format(ca=self.authority.ca, cert=cert, key=key, acl=acl)
        self.broker = Broker(folder, rules)

    def settings(self, authority=None, name="test-1", **others):
        cert, key = (authority or self.authority).issue(name)
        return settings(
            self.broker.port,
            **{"ca_file": self.authority.ca, "cert_file": cert, "key_file": key, **others},
        )


@pytest.fixture
def tls(tmp_path):
    tls = Tls(tmp_path)
    yield tls
    tls.broker.stop()


@pytest.fixture
def rigs():
    made = []
    yield lambda *arguments: made.append(SenderRig(*arguments)) or made[-1]
    for rig in made:
        rig.close()


def refusal(rig):
    """Return the error of a station that the broker does not accept."""
    rig.turn_until(lambda: any(isinstance(event, Disconnected) for event in rig.seen))
    assert not rig.sender.health()["connected"] and rig.journal.count_waiting() == 1
    return rig.sender.health()["last_error"]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_station_with_a_certificate_delivers(tls, rigs, version):
    rig = rigs(tls.folder, tls.settings(version=version))
    rig.post(*range(30))
    rig.turn_until(rig.connected)
    assert rig.sender.health()["sent"] == 30 and rig.sender.health()["trouble"] is None


def test_a_station_may_not_write_the_topics_of_another(tls, rigs):
    rig = rigs(tls.folder, tls.settings(name="test-2"))
    rig.post(1)
    rig.turn_until(lambda: rig.sender.delivery.last_refusal and rig.sender.trouble(0.0))
    assert rig.journal.count_waiting() == 1
    assert rig.sender.trouble(0.0) == "crns/v1/test-1/obs/theta: not authorized"


def test_a_station_without_a_client_certificate_is_refused(tls, rigs):
    rig = rigs(tls.folder, tls.settings(cert_file=None, key_file=None))
    rig.post(1)
    assert refusal(rig)


def test_a_certificate_of_another_authority_is_refused(tls, rigs):
    rig = rigs(tls.folder, tls.settings(Authority(tls.folder, "other")))
    rig.post(1)
    assert refusal(rig)


@PAHO_LEAVES_THE_SOCKET
def test_a_broker_of_another_authority_gets_nothing(tls, rigs):
    other = Authority(tls.folder, "other")
    rig = rigs(tls.folder, tls.settings(ca_file=other.ca))
    rig.post(1)
    assert "certificate verify failed" in refusal(rig)


@PAHO_LEAVES_THE_SOCKET
def test_a_broker_whose_certificate_is_for_another_name_gets_nothing(tls, rigs):
    rig = rigs(tls.folder, tls.settings(host="localhost"))
    rig.post(1)
    assert "certificate verify failed" in refusal(rig)


def test_user_and_password_are_accepted_over_tls(tmp_path, rigs):
    authority = Authority(tmp_path)
    cert, key = authority.issue("broker", "IP:127.0.0.1")
    users, password = tmp_path / "users", tmp_path / "password"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "test-1", "s3cret"], check=True)
    password.write_text("s3cret\n")
    broker = Broker(
        tmp_path,
        f"allow_anonymous false\npassword_file {users}\n"
        f"cafile {authority.ca}\ncertfile {cert}\nkeyfile {key}\n",
    )
    access = {"ca_file": authority.ca, "user": "test-1", "password_file": password}
    rig = rigs(tmp_path, settings(broker.port, **access))
    rig.put(ME.message(OBS_THETA, b"1"))
    rig.turn_until(rig.connected)
    assert rig.journal.count_waiting() == 0
    wait_until(lambda: rig.sender.health()["sent"] == 1)
    broker.stop()
