"""`check` of what comes from other instruments, and of who can read a password."""

import datetime
import os

import pytest
from tests.support.certificates import Authority
from tests.support.rig import (
    Broker,
    Daemon,
    Line,
    Subscriber,
    edge,
    free_port,
    station_toml,
    wait_until,
)
from tests.support.sites import SITE

PLAIN = f'{SITE}[site.incoming]\nform = "plain"\nref = 159.0\n'
FILE = '[incoming]\nsource = "file"\nfile = "counts.txt"\n'
AIR = '[weather.temperature]\ntopic = "yard/air"\nfield = "t"\n'


def check(folder, tables, site=SITE, **options):
    """Run `check` with more tables; return its lines by part, each with its remedy."""
    toml = station_toml(folder, site=site, **options)
    toml.write_text(toml.read_text() + tables)
    done = edge("check", toml)
    assert "Traceback" not in done.stderr, done.stderr
    parts = "\n".join(done.stdout.splitlines()).replace("\n      do: ", " DO ").splitlines()
    return done.returncode, {line[6:].partition(":")[0]: line for line in parts}


def counts_of(*values, form="{time};{value}\n"):
    hour = datetime.datetime.now(datetime.UTC).replace(minute=0, second=0, microsecond=0)
    rows = []
    for back, value in enumerate(reversed(values)):
        time = hour - datetime.timedelta(hours=back)
        rows.append(form.format(time=f"{time:%Y-%m-%d %H:%M:%S}", value=value))
    return "".join(reversed(rows))


def test_counts_of_the_right_monitor_are_ok(tmp_path):
    (tmp_path / "counts.txt").write_text(counts_of(150.5, 151.0, 159.0))
    code, parts = check(tmp_path, FILE, PLAIN)
    assert code == 0 and "3 counts, the newest 159 of 20" in parts["incoming"]
    assert "1.00 times site.incoming.ref" in parts["incoming"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "counts.txt: No such file or directory"),
        (counts_of(395.2, 396.1), "396.1 is not near site.incoming.ref = 159"),
        (counts_of(150.5, form="{time};{value};131.5\n"), "more than one count in a line"),
        ("", "the file has no count"),
        ("<html>sorry</html>\n", "the file has no count"),
        ("2020-01-01 00:00:00;150.5\n", "older than incoming.max_age_s"),
    ],
)
def test_counts_that_cannot_be_used_are_a_fault(tmp_path, content, words):
    if content is not None:
        (tmp_path / "counts.txt").write_text(content)
    code, parts = check(tmp_path, FILE, PLAIN)
    assert code == 1 and parts["incoming"].startswith("FAULT") and words in parts["incoming"]
    assert " DO " in parts["incoming"]


def test_a_running_station_says_the_same_of_its_counts_and_remembers_it(tmp_path):
    (tmp_path / "counts.txt").write_text(counts_of(150.5, form="{time};{value};131.5\n"))
    _, parts = check(tmp_path, FILE, PLAIN)
    line = Line()
    toml = station_toml(tmp_path, site=PLAIN, url=line.name)
    toml.write_text(toml.read_text() + FILE)
    daemon = Daemon(toml)
    try:
        sentence = parts["incoming"].partition(": ")[2].partition(" DO ")[0]
        wait_until(lambda: f"incoming: {sentence}\n" in edge("status", toml).stdout, what=sentence)
        assert f"FAULT incoming: {sentence}\n" in edge("check", toml).stdout
        wait_until(lambda: "failure 2" in daemon.log(), what="a second look at the same file")
        assert f"incoming: {sentence}\n" in edge("status", toml).stdout
    finally:
        daemon.kill()
        line.close()


def weather_at(port, more=""):
    return f'[weather]\nhost = "127.0.0.1"\nport = {port}\n{more}{AIR}'


def test_a_weather_broker_without_answer_is_named(tmp_path):
    port = free_port()
    code, parts = check(tmp_path, weather_at(port))
    assert code == 1 and f"127.0.0.1:{port}: not connected: no connection:" in parts["weather"]
    assert "refused" in parts["weather"] and "DO check weather.host" in parts["weather"]


def test_a_wrong_certificate_of_the_weather_broker_is_named(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir(), theirs.mkdir()
    cert, key = Authority(theirs).issue("broker", "IP:127.0.0.1")
    broker = Broker(tmp_path, f"allow_anonymous true\ncertfile {cert}\nkeyfile {key}\n")
    try:
        code, parts = check(
            tmp_path, weather_at(broker.port, f'ca_file = "{Authority(ours).ca}"\n')
        )
        assert code == 1 and "certificate verify failed" in parts["weather"]
    finally:
        broker.stop()


def test_a_weather_broker_that_rejects_login_or_topic_is_named(tmp_path):
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite other/#\n")
    broker = Broker(tmp_path, "allow_anonymous false\n")
    try:
        code, parts = check(tmp_path, weather_at(broker.port))
        assert code == 1 and "rejects the connection" in parts["weather"]
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("payload", "word", "words"),
    [
        (b'{"t": 21.5}', "WARN", "a retained message without a time"),
        (None, "ok", "no message within 3 s of yard/air"),
    ],
)
def test_what_arrives_on_the_topics_is_said(tmp_path, payload, word, words):
    broker = Broker(tmp_path)
    client = Subscriber(broker.port)
    try:
        if payload is not None:
            client.publish("yard/air", payload, retain=True).wait_for_publish(5.0)
        code, parts = check(tmp_path, weather_at(broker.port))
        assert code == 0 and parts["weather"].startswith(word) and words in parts["weather"]
    finally:
        client.close()
        broker.stop()


def test_a_running_station_says_that_messages_of_a_topic_are_refused(tmp_path):
    broker, line = Broker(tmp_path), Line()
    toml = station_toml(tmp_path, url=line.name)
    toml.write_text(toml.read_text() + weather_at(broker.port))
    client, daemon = Subscriber(broker.port), Daemon(toml)

    def troubles():
        return [x for x in edge("status", toml).stdout.splitlines() if " weather: " in x]

    def publish_until(payload, holds):
        def is_so():
            client.publish("yard/air", payload)
            return holds(troubles())

        wait_until(is_so, what=payload)

    try:
        publish_until(b'{"temp": 21.5}', bool)
        assert "refused: t: missing" in troubles()[0]
        assert "WARN" not in edge("check", toml).stdout.partition("weather")[2].splitlines()[0]
        publish_until(b'{"t": 21.5}', lambda found: not found)
    finally:
        daemon.kill()
        client.close()
        broker.stop()
        line.close()


@pytest.mark.parametrize("table", ["mqtt", "weather"])
@pytest.mark.parametrize(
    ("mode", "host", "words"),
    [
        (0o666, "127.0.0.1", ["has mode 0666", "DO chmod 600 "]),
        (0o604, "127.0.0.1", ["has mode 0604"]),
        (0o600, "192.0.2.1", ["without TLS", "ca_file"]),
        (0o666, "192.0.2.1", ["has mode 0666", "without TLS"]),
        (0o640, "127.0.0.1", []),
        (0o600, "localhost", []),
    ],
)
def test_a_password_that_others_can_read_is_a_warning(tmp_path, table, mode, host, words):
    password = tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(mode)
    keys = f'host = "{host}"\nport = {free_port()}\nuser = "u"\npassword_file = "password"\n'
    toml = station_toml(tmp_path)
    toml.write_text(toml.read_text() + f"[{table}]\n{keys}" + (AIR if table == "weather" else ""))
    part = examined(toml)
    assert all(word in part for word in words)
    assert part.startswith("WARN  secrets" if words else "ok    secrets"), part


def examined(toml):
    """Return what `check` prints on the secrets, without waiting for a broker far away."""
    from epithermal_edge.cli import check_secrets
    from epithermal_edge.config.station_toml import read_config

    config = read_config(toml)
    assert check_secrets.has_secrets(config)
    found = check_secrets.examine(config)
    if isinstance(found, str):
        return f"ok    secrets: {found}"
    return f"WARN  secrets: {found.why} DO {found.remedy}"


def test_check_prints_the_warning_about_a_password_and_stays_well(tmp_path):
    broker, line = Broker(tmp_path), Line()
    (tmp_path / "password").write_text("secret\n")
    os.chmod(tmp_path / "password", 0o666)
    keys = 'user = "u"\npassword_file = "password"\n'
    try:
        code, parts = check(tmp_path, "", url=line.name, port=broker.port, mqtt=keys)
        assert code == 0 and parts["secrets"].startswith("WARN") and "0666" in parts["secrets"]
        assert "DO chmod 600" in parts["secrets"]
    finally:
        broker.stop()
        line.close()


def test_biomass_without_a_slope_is_a_warning_with_the_remedy_and_not_an_error(tmp_path):
    _, parts = check(tmp_path, "", site=f"{SITE}biomass_kg_m2 = 4\n")
    assert parts["biomass"].startswith("WARN  biomass: site.biomass_kg_m2 has no effect DO set")
    form = 'biomass_kg_m2 = 4\nbiomass_form = "morris2024"\n'
    assert "biomass" not in check(tmp_path, "", site=SITE + form)[1]
