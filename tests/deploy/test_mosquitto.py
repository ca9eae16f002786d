"""On the example broker a station may publish and read its own topics only."""

import getpass
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from tests.support.rig import (
    MOSQUITTO,
    PATIENCE_S,
    ROOT,
    Daemon,
    Line,
    edge,
    free_port,
    lines,
    station_toml,
    topics_of,
    wait_until,
)

FOLDER = ROOT / "deploy" / "mosquitto"
PASSWD = shutil.which("mosquitto_passwd")
PEOPLE = ("dashboard", "operator", "homeassistant", "gamma-3")

pytestmark = pytest.mark.skipif(
    MOSQUITTO is None or PASSWD is None or shutil.which("openssl") is None,
    reason="mosquitto or openssl is not installed",
)


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """Start the broker of deploy/ with other folders, ports and user of the process."""
    folder = tmp_path_factory.mktemp("broker")
    certs = folder / "certs"
    command = [FOLDER / "make-certs.sh", certs, "127.0.0.1", "alpha-1", "beta-2"]
    subprocess.run(command, check=True, capture_output=True)
    for name in PEOPLE:
        new = [] if (certs / "passwd").exists() else ["-c"]
        subprocess.run([PASSWD, "-b", *new, certs / "passwd", name, f"of-{name}"], check=True)
    shutil.copy(FOLDER / "acl", certs / "acl")
    ports = {"8883": free_port(), "8884": free_port()}
    text = (FOLDER / "epithermal.conf").read_text()
    text = text.replace("/etc/mosquitto/epithermal", str(certs))
    text = text.replace("/var/lib/mosquitto/", f"{folder}/")
    for printed, port in ports.items():
        text = text.replace(f"listener {printed}", f"listener {port} 127.0.0.1")
    config = folder / "mosquitto.conf"
    config.write_text(f"user {getpass.getuser()}\n{text}")
    log = (folder / "log").open("w+")
    broker = subprocess.Popen([MOSQUITTO, "-c", str(config)], stdout=log, stderr=log)
    wait_until(lambda: "running" in (folder / "log").read_text(), what="the broker")
    yield certs, ports
    broker.terminate()
    broker.wait(PATIENCE_S)
    log.close()


class Person:
    """A client with a certificate, or with user and password, that stores received messages."""

    def __init__(self, field, name, password=None, subscriptions=()):
        certs, ports = field
        self.received, self.refused, self._done = [], {}, threading.Event()
        self.reason = None
        client = self.client = Client(CallbackAPIVersion.VERSION2, f"{name}-x", protocol=MQTTv5)
        if password is None:
            client.tls_set(certs / "ca.pem", certs / f"{name}.pem", certs / f"{name}.key")
        else:
            client.tls_set(certs / "ca.pem")
            client.username_pw_set(name, password)
        client.on_message = lambda _c, _d, m: self.received.append((m.topic, m.payload.decode()))
        client.on_connect = self._connected
        client.on_subscribe = lambda *_: self._done.set()
        client.on_publish = self._published
        self._subscriptions = subscriptions
        client.connect("127.0.0.1", ports["8883" if password is None else "8884"])
        client.loop_start()
        assert self._done.wait(PATIENCE_S)

    def _connected(self, client, _data, _flags, reason, _properties):
        self.reason = reason
        if self._subscriptions and not reason.is_failure:
            client.subscribe([(topic, 1) for topic in self._subscriptions])
        else:
            self._done.set()

    def _published(self, _client, _data, mid, reason, _properties):
        self.refused[mid] = reason.is_failure

    def publishes(self, topic, text, retain=False):
        """Publish a message; return whether the broker accepts it."""
        mid = self.client.publish(topic, text, qos=1, retain=retain).mid
        wait_until(lambda: mid in self.refused)
        return not self.refused[mid]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def people(field):
    made = []
    yield lambda *arguments, **more: made.append(Person(field, *arguments, **more)) or made[-1]
    for person in made:
        person.close()


def test_a_station_writes_its_own_topics_and_none_of_another_s(people):
    alpha = people("alpha-1")
    assert len(topics_of("alpha-1")) == 9
    for topic in topics_of("alpha-1"):
        assert alpha.publishes(topic, "{}"), topic
    for topic in topics_of("beta-2"):
        assert not alpha.publishes(topic, "{}"), topic
    for topic in ("crns/v1/alpha-1/cmd/ping", "crns/v1/beta-2/cmd/ping", "crns/v1", "other"):
        assert not alpha.publishes(topic, "x"), topic
    assert not alpha.publishes("crns/v1/alpha-1x/status", "x")


def test_a_station_receives_commands_to_itself_and_nothing_of_another_s(people):
    beta = people(
        "beta-2", subscriptions=["#", "crns/v1/#", "crns/v1/alpha-1/#", "crns/v1/beta-2/#"]
    )
    alpha, operator = people("alpha-1"), people("operator", "of-operator")
    for topic in topics_of("alpha-1"):
        assert alpha.publishes(topic, "secret", retain=True)
    assert operator.publishes("crns/v1/alpha-1/cmd/ping", "not for beta")
    assert operator.publishes("crns/v1/beta-2/cmd/ping", "for beta")
    wait_until(lambda: ("crns/v1/beta-2/cmd/ping", "for beta") in beta.received)
    time.sleep(0.3)
    assert not [topic for topic, _ in beta.received if "alpha-1" in topic]
    late = people(
        "beta-2", subscriptions=["crns/v1/+/status", "crns/v1/+/state/#", "crns/v1/+/meta"]
    )
    time.sleep(0.3)
    assert not [topic for topic, _ in late.received if "alpha-1" in topic], (
        "no retained messages either"
    )


def test_a_station_with_a_password_has_the_same_permissions(people):
    gamma = people("gamma-3", "of-gamma-3", subscriptions=["crns/v1/#"])
    alpha = people("alpha-1")
    assert gamma.publishes("crns/v1/gamma-3/obs/theta", "x")
    assert not gamma.publishes("crns/v1/alpha-1/obs/theta", "x")
    assert alpha.publishes("crns/v1/alpha-1/obs/theta", "x")
    wait_until(lambda: ("crns/v1/gamma-3/obs/theta", "x") in gamma.received)
    assert not [topic for topic, _ in gamma.received if "alpha" in topic]


def test_people_read_every_station_and_only_the_operator_commands(people):
    dashboard = people("dashboard", "of-dashboard", subscriptions=["crns/v1/#"])
    alpha = people("alpha-1")
    assert alpha.publishes("crns/v1/alpha-1/obs/theta", "seen")
    wait_until(lambda: ("crns/v1/alpha-1/obs/theta", "seen") in dashboard.received)
    assert not dashboard.publishes("crns/v1/alpha-1/cmd/ping", "x")
    assert not dashboard.publishes("crns/v1/alpha-1/obs/theta", "x")
    assert not people("operator", "of-operator").publishes("crns/v1/alpha-1/obs/theta", "x")


def test_nobody_gets_in_without_certificate_or_password(field, people):
    certs, ports = field
    assert people("gamma-3", "wrong").reason.is_failure
    assert people("alpha-1", "").reason.is_failure
    context = ssl.create_default_context(cafile=certs / "ca.pem")
    with socket.create_connection(("127.0.0.1", ports["8883"]), 5) as plain:  # noqa: SIM117
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as bare:
            with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
                bare.recv(1)  # in TLS 1.3 the server rejects at the first read


def tls(certs, port, name="alpha-1"):
    text = "".join(f'{k}_file = "{certs}/{v}"\n' for k, v in
                   (("ca", "ca.pem"), ("cert", f"{name}.pem"), ("key", f"{name}.key")))  # fmt: skip
    return {"port": port, "mqtt": text}


def named(toml, station):
    toml.write_text(toml.read_text().replace('id = "test-1"', f'id = "{station}"'))
    return toml


def test_the_real_station_delivers_over_tls(field, people, tmp_path):
    certs, ports = field
    line, reader = (
        Line(),
        people("dashboard", "of-dashboard", subscriptions=["crns/v1/alpha-1/obs/theta"]),
    )
    before = len(reader.received)
    toml = station_toml(tmp_path, url=line.name, **tls(certs, ports["8883"]))
    daemon = Daemon(named(toml, "alpha-1")).ready()
    line.write(b"".join(lines(1.0)))
    wait_until(lambda: len(reader.received) - before >= 24, what="24 messages")
    assert daemon.stop() == 0 and daemon.counts()["delivered"] >= 24
    line.close()


def test_check_reports_whether_the_broker_accepts_the_station(field, tmp_path):
    certs, ports = field
    toml = named(station_toml(tmp_path, **tls(certs, ports["8883"])), "alpha-1")
    assert "accepts alpha-1 and its messages" in edge("check", toml).stdout
    named_wrong = named(station_toml(tmp_path, **tls(certs, ports["8883"], "beta-2")), "alpha-1")
    done = edge("check", named_wrong)
    assert done.returncode == 1
    assert "accepts alpha-1 but rejects its messages: Not authorized" in done.stdout
    mqtt = f'ca_file = "{certs}/ca.pem"\nuser = "gamma-3"\npassword_file = "wrong"\n'
    (tmp_path / "wrong").write_text("wrong\n")
    toml = named(station_toml(tmp_path, port=ports["8884"], mqtt=mqtt), "gamma-3")
    done = edge("check", toml)
    assert done.returncode == 1 and "rejects the login of gamma-3: Not authorized" in done.stdout
    (tmp_path / "other").mkdir()
    command = [FOLDER / "make-certs.sh", tmp_path / "other", "127.0.0.1", "alpha-1"]
    subprocess.run(command, check=True, capture_output=True)
    toml = named(station_toml(tmp_path, **tls(tmp_path / "other", ports["8883"])), "alpha-1")
    done = edge("check", toml)
    assert done.returncode == 1 and "certificate verify failed" in done.stdout


def test_certificates_are_made_once_and_stations_added(tmp_path):
    def make(*stations):
        command = [FOLDER / "make-certs.sh", tmp_path / "c", "broker.example.org", *stations]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert make("one-1").returncode == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "c").iterdir()}
    assert make("one-1", "two-2").returncode == 0
    after = {p.name: p.read_bytes() for p in (tmp_path / "c").iterdir()}
    assert {k: after[k] for k in before if not k.endswith(".srl")} == {
        k: v for k, v in before.items() if not k.endswith(".srl")
    }
    assert "two-2.pem" in after
    for path in (tmp_path / "c").glob("*.key"):
        assert path.stat().st_mode & 0o077 == 0
    wrong = make("Two_2")
    assert wrong.returncode == 1 and "a station id may contain only" in wrong.stderr
    shown = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "c" / "server.pem", "-noout", "-text"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "DNS:broker.example.org" in shown and re.search("TLS Web Server", shown)
