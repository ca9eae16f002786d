"""The service under a real systemd in a container: install, start, crash, hang, uninstall."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.deploy.booted import SLOWER, Container, why_not
from tests.deploy.test_install import wheel  # noqa: F401 - a fixture
from tests.faults.test_watchdog import BLOCKABLE
from tests.support.rig import BUNDLE, lines, wait_until
from tests.support.sites import SITE

PYTHON = "/usr/bin/python3"  # one that ProtectHome does not hide


def no_python():
    """Check whether Debian's Python is missing, lacks venv, or has another version."""
    version = "import ensurepip, sys; print(sys.version_info[:2])"
    done = subprocess.run([PYTHON, "-c", version], capture_output=True, text=True, check=False)
    return done.stdout.strip() != str(sys.version_info[:2])


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(no_python(), reason="apt install python3-venv; run with its version"),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.timeout(1800),
]

TOML = f"""
[station]
id = "booted-1"
state_dir = "/var/lib/epithermal"
journal_max_mb = 8
[site]
{SITE}
[source]
url = "socket://127.0.0.1:4001"
dialect = "records"
[model]
bundle = "/var/lib/epithermal/models/current"
unsigned = true
[page]
"""
CONFIG = "/etc/epithermal/station.toml"
UNIT = "epithermal-edge"


@pytest.fixture(scope="module")
def box(wheel):  # noqa: F811
    """Start a container with the station installed by install.sh, not running."""
    container = Container()
    try:
        home = container.root / "srv/epithermal"
        shutil.copytree(BUNDLE.parents[2] / "deploy", home / "deploy")
        shutil.copytree(BUNDLE, home / BUNDLE.name)
        shutil.copy(wheel, home)
        python = f"PYTHON={PYTHON}"
        options = "PIP_OPTIONS=--no-index --no-deps"
        container.run("env", python, options, "/srv/epithermal/deploy/install.sh", "--wheel",
                      f"/srv/epithermal/{wheel.name}")  # fmt: skip
        lend_packages(container)
        (container.root / CONFIG.lstrip("/")).write_text(TOML)
        password = container.root / "etc/epithermal/credentials/password"
        password.write_text("secret\n")
        password.chmod(0o600)
        container.run("epithermal-edge", "model", "install", CONFIG,
                      f"/srv/epithermal/{BUNDLE.name}")  # fmt: skip
        yield container
    finally:
        container.close()


def lend_packages(container):
    """Copy the packages of this test run to the installed station, which has no network."""
    import numpy

    packages = numpy.__path__[0].rpartition("/")[0]
    (folder,) = (container.root / "opt/epithermal").glob("release-*/lib/python3*/site-packages")
    runtimes = ("tflite_runtime", "ai_edge_litert")
    for name in ("numpy", "numpy.libs", "paho", "serial", "cryptography", *runtimes):
        source = Path(packages, name)
        if source.is_dir():
            shutil.copytree(source, folder / name)
    for library in Path(packages).glob("_cffi_backend.*.so"):  # of cryptography
        shutil.copy(library, folder)


def show(box, name):
    return box.systemctl("show", UNIT, "--property", name, "--value")


def is_active(box):
    return box.systemctl("is-active", UNIT) == "active"


def process(box, other_than="0"):
    """Wait for a new main process of the station, and return its id."""

    def is_new():
        return is_active(box) and show(box, "MainPID") not in ("0", other_than)

    wait_until(is_new, "another start")
    return show(box, "MainPID")


def test_the_unit_starts_and_notifies_systemd_when_it_is_ready(box):
    box.run("systemctl", "start", UNIT)
    assert is_active(box)
    wait_until(lambda: "records" in show(box, "StatusText"), what="the status line")
    assert show(box, "User") == "epithermal" and int(show(box, "WatchdogUSec").rstrip("min")) == 1
    done = box.run("epithermal-edge", "status", CONFIG, "--json", check=False)
    status = json.loads(done.stdout)
    assert status["state"] != "down" and done.returncode < 2
    assert status["health"]["station"] == "booted-1"
    log = box.run("journalctl", "-u", UNIT, "-o", "json", "--no-pager").stdout
    levels = {json.loads(x).get("PRIORITY") for x in log.splitlines() if "text=" in x}
    assert {"4", "6"} <= levels, "no port yet is a warning, the rest information"


def test_the_unit_serves_the_page(box):
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8480/{}').read().decode())"
    status = json.loads(box.run(PYTHON, "-c", ask.format("now.json")).stdout)["status"]
    assert status["station"] == "booted-1" and status["state"] != "down"
    assert "<h1" in box.run(PYTHON, "-c", ask.format("")).stdout


def test_a_crash_is_followed_by_another_start(box):
    before = process(box)
    box.run("kill", "-9", before)
    assert process(box, other_than=before) != before


def test_a_process_that_hangs_is_killed_by_the_watchdog_and_restarted(box):
    box.run("mkdir", "-p", f"/run/systemd/system/{UNIT}.service.d")
    text = f"[Service]\nWatchdogSec={6 * SLOWER}\nRestartSec=1\n"
    box.run("sh", "-c", f"printf '{text}' > /run/systemd/system/{UNIT}.service.d/fast.conf")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", UNIT)
    before = process(box)
    box.run("kill", "-STOP", before)
    assert process(box, other_than=before) != before
    log = box.run("journalctl", "-u", UNIT, "--no-pager").stdout
    assert "Watchdog timeout" in log
    box.run("rm", f"/run/systemd/system/{UNIT}.service.d/fast.conf")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", UNIT)


@pytest.fixture(scope="module")
def ends(box):
    """Start a logger's port and a broker in the container."""
    port = "PTY,raw,echo=0,link=/run/logger,user=epithermal"
    (box.root / "srv/lines").write_bytes(b"")
    box.run("systemd-run", "--unit=logger", "socat", port, "EXEC:tail -c +1 -f /srv/lines")
    box.run("systemd-run", "--unit=broker", "mosquitto", "-p", "1883")
    shutil.copy(BLOCKABLE, box.root / "srv")
    return box


@pytest.fixture
def field(ends):
    """Configure port and broker of the station, and restore its file afterwards."""
    path = ends.root / CONFIG.lstrip("/")
    original = path.read_text()
    port = TOML.replace("socket://127.0.0.1:4001", "/run/logger")
    path.write_text(port + '[mqtt]\nhost = "127.0.0.1"\n')
    yield ends
    path.write_text(original)
    ends.run("rm", "-r", f"/run/systemd/system/{UNIT}.service.d")
    ends.run("systemctl", "daemon-reload")
    ends.run("systemctl", "restart", UNIT)


@pytest.mark.parametrize("what", ["reader", "engine", "sender"])
def test_the_watchdog_restarts_a_station_with_a_blocked_part(field, what):
    """Block a part of a running process: systemd misses its watchdog notification."""
    drop = field.root / f"run/systemd/system/{UNIT}.service.d/blocked.conf"
    program = f"/opt/epithermal/current/bin/python /srv/blockable.py {what} {CONFIG}"
    text = f"[Service]\nExecStart=\nExecStart={program}\nWatchdogSec={6 * SLOWER}\nRestartSec=1\n"
    field.run("mkdir", "-p", f"/run/systemd/system/{UNIT}.service.d")
    field.run("sh", "-c", f"printf '{text}' > /{drop.relative_to(field.root)}")
    field.run("systemctl", "daemon-reload")
    field.run("systemctl", "restart", UNIT)
    before = process(field)

    def log():
        return field.run("journalctl", "-u", UNIT, f"_PID={before}", "--no-pager").stdout

    wait_until(lambda: " is open" in log() and "connected to" in log(), "port and broker")
    time.sleep(12.0 * SLOWER)
    assert show(field, "MainPID") == before, "not restarted during two watchdog periods"
    field.run("kill", "-USR1", before)
    with (field.root / "srv/lines").open("ab") as file:  # the sender blocks when it has to send
        file.write(b"".join(lines(1.0, seed=["reader", "engine", "sender"].index(what))))
    begin = time.monotonic()
    assert process(field, other_than=before) != before
    assert time.monotonic() - begin < 14.0 * SLOWER, "two watchdog periods and a start"
    log_text = field.run("journalctl", "-u", UNIT, "--no-pager", "-n", "60").stdout
    assert "Watchdog timeout" in log_text


def test_it_can_write_only_its_state(box):
    enter = [
        "nsenter",
        "-t",
        process(box),
        "-m",
        "--",
        "setpriv",
        "--reuid=epithermal",
        "--regid=epithermal",
        "--clear-groups",
    ]
    refused = box.run(*enter, "touch", "/etc/epithermal/x", "/opt/epithermal/x", "/usr/x",
                      check=False)  # fmt: skip
    assert refused.stderr.count("Read-only file system") == 3
    done = box.run(*enter, "cat", "/etc/epithermal/credentials/password", check=False)
    assert "Permission denied" in done.stderr, "a file of root"
    lent = box.run(*enter, "cat", f"/run/credentials/{UNIT}.service/station_password")
    assert lent.stdout == "secret\n"


def test_a_station_with_a_wrong_configuration_is_not_restarted(box):
    box.run("sh", "-c", f"cp {CONFIG} /tmp/kept; echo 'x = 1' >> {CONFIG}")
    box.run("systemctl", "restart", UNIT, check=False)
    time.sleep(3.0 * SLOWER)
    assert box.systemctl("is-active", UNIT) == "failed" and show(box, "ExecMainStatus") == "2"
    box.run("sh", "-c", f"cp /tmp/kept {CONFIG}")
    box.run("systemctl", "restart", UNIT)
    assert is_active(box)


def test_uninstall_and_purge_leave_nothing(box):
    box.run("/srv/epithermal/deploy/install.sh", "--uninstall")
    assert box.systemctl("is-active", UNIT) == "inactive"
    assert (box.root / "var/lib/epithermal/journal.sqlite3").exists()
    box.run("/srv/epithermal/deploy/install.sh", "--purge")
    left = box.run("sh", "-c", "ls -d /etc/epithermal /opt/epithermal /var/lib/epithermal"
                   " /usr/local/bin/epithermal-edge /etc/systemd/system/epithermal-edge.service"
                   " 2>/dev/null; getent passwd epithermal", check=False)  # fmt: skip
    assert left.stdout == ""
