"""The Debian package in a newly booted Debian: install, run, upgrade, remove, purge."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from tests.contract.documented import commands
from tests.contract.test_docs_run import BOOTED, excuse
from tests.deploy import booted, fresh
from tests.support.rig import ROOT, lines, wait_until
from tests.support.sites import SITE

from epithermal_edge import __version__

UNIT = "epithermal-edge"
CONFIG = "/etc/epithermal/station.toml"
PACKAGES = ROOT / "build" / "deb"
AMD64 = PACKAGES / f"{UNIT}_{__version__}-1_amd64.deb"
MODEL = max((ROOT / "models").glob("rootzone-*")).name
DAYS = 3
LINES = "/srv/lines"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not AMD64.exists(), reason="make deb"),
    pytest.mark.skipif(bool(fresh.why_not()), reason=fresh.why_not() or "-"),
    pytest.mark.skipif(bool(booted.why_not()), reason=booted.why_not() or "-"),
    pytest.mark.timeout(3600),
]

STATION = f"""
[station]
id = "booted-1"
state_dir = "/var/lib/epithermal"
[site]
{SITE}
[source]
url = "socket://127.0.0.1:4001"
dialect = "records"
stamps = "unchecked"
[model]
bundle = "/var/lib/epithermal/models/current"
[mqtt]
host = "127.0.0.1"
user = "booted-1"
password_file = "credentials/password"
"""
MAY_FAIL = {  # calls that may be denied without harm; documented in docs/deploy.md
    "clock_adjtime": "reads whether the clock is synchronised; ProtectClock forbids it",
    "mbind": "an optional call of an allocator in LiteRT, on Python 3.13",
}
LOGGER = f"""
import socket
server = socket.create_server(("127.0.0.1", 4001))
while True:
    link, _ = server.accept()
    link.sendall(open("{LINES}", "rb").read())
    kept = link
"""


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def box(request):
    """Start a Debian with a logger and a broker, without a station."""
    container = booted.Container(fresh.debian(request.param))
    try:
        srv = container.root / "srv"
        shutil.copy(AMD64, srv / "first.deb")
        (container.root / LINES[1:]).write_bytes(b"".join(lines(DAYS)))
        (srv / "logger.py").write_text(LOGGER)
        container.run("systemd-run", "--unit=logger", "python3", "/srv/logger.py")
        container.run("systemd-run", "--unit=broker", "mosquitto", "-p", "1883")
        container.before = listing(container.root)
        container.users = (container.root / "etc/passwd").read_text()
        yield container
    finally:
        container.close()


def listing(root):
    """List all files except those that the system itself writes."""
    own = (
        "var/lib/dpkg",
        "var/lib/apt",
        "var/log",
        "var/cache",
        "run",
        "proc",
        "sys",
        "dev",
        "tmp",
        "var/tmp/systemd-private",  # of timedated, which `check` queries
        "srv",
        "root",
    )
    found = set()
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if not name.startswith(own) and "/__pycache__" not in name.replace("epithermal", ""):
            found.add(name)
    return found


def show(box, name):
    return box.systemctl("show", UNIT, "--property", name, "--value")


def install(box, package):
    return box.run("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "-i", f"/srv/{package}")


def records(box):
    """Count the records in the journal."""
    out = box.run("sh", "-c", f"epithermal-edge export {CONFIG} 2>/dev/null | wc -l").stdout
    return int(out) - 1


def test_installing_leaves_a_station_that_waits_to_be_configured(box):
    done = install(box, "first.deb")
    assert "now edit /etc/epithermal/station.toml" in done.stderr
    assert box.systemctl("is-enabled", UNIT) == "enabled"
    assert box.systemctl("is-active", UNIT) == "inactive", "it has no broker yet"
    listed = box.run("epithermal-edge", "model", "list", CONFIG).stdout
    assert "current" in listed and MODEL.replace("-", " ") in listed
    done = box.run("epithermal-edge", "selftest", f"/usr/share/epithermal/models/{MODEL}")
    print(done.stdout)
    assert "golden vectors within" in done.stdout and "FAULT" not in done.stdout
    done = box.run("epithermal-edge", "check", CONFIG, check=False)
    assert f"ok    bundle: {MODEL.replace('-', ' ')}" in done.stdout, (
        "only port and broker are missing"
    )
    assert done.stdout.count("FAULT") == 2


def test_it_is_active_within_five_seconds_and_delivers(box):
    (box.root / CONFIG[1:]).write_text(STATION)
    box.run("sh", "-c", "umask 077; echo secret > /etc/epithermal/credentials/password")
    begin = time.monotonic()
    box.run("systemctl", "start", UNIT)
    start_s = time.monotonic() - begin
    print(f"active after {start_s:.2f} s")
    assert box.systemctl("is-active", UNIT) == "active" and start_s <= 5.0 * booted.SLOWER

    def delivered():
        status = box.run("epithermal-edge", "status", CONFIG, "--json", check=False).stdout
        return json.loads(status)["journal"].get("waiting") == 0 and records(box) == 24 * DAYS

    wait_until(delivered, "everything at the broker")


def test_the_exposure_is_at_most_1_5(box):
    report = box.run("systemd-analyze", "security", "--no-pager", f"{UNIT}.service").stdout
    exposure = float(re.search(r"exposure level for \S+: ([0-9.]+)", report)[1])
    print(f"exposure {exposure}")
    assert exposure <= 1.5


@pytest.mark.skipif(shutil.which("strace") is None, reason="apt install strace")
def test_no_system_call_is_denied_from_start_to_stop(box, tmp_path):
    box.run("systemctl", "stop", UNIT)
    box.run("sh", "-c", "rm /var/lib/epithermal/journal.sqlite3*")
    log = tmp_path / "calls"
    command = ["strace", "-f", "-q", "-Y", "-o", log, "-e", "signal=none", "-p", box.leader()]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        time.sleep(2.0 * booted.SLOWER)
        box.run("systemctl", "start", UNIT)
        wait_until(lambda: records(box) == 24 * DAYS, "all records")
        box.run("systemctl", "stop", UNIT)
        strace.terminate()
    calls = [line for line in log.read_text(errors="replace").splitlines() if "<python" in line]
    denied = [
        line
        for line in calls
        if " EPERM " in line and not set(re.findall(r"\w+", line)) & set(MAY_FAIL)
    ]
    print(f"{len(calls)} system calls, {len(denied)} denied")
    assert len(calls) > 10_000 and not denied, "\n".join(denied[:20])
    box.run("systemctl", "start", UNIT)


def repacked(box, tmp_path):
    """Build the same package as revision 2."""
    folder = tmp_path / "next"
    subprocess.run(["dpkg-deb", "-R", AMD64, folder], check=True)
    control = folder / "DEBIAN" / "control"
    control.write_text(control.read_text().replace(f"{__version__}-1", f"{__version__}-2"))
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", folder]
    subprocess.run([*command, box.root / "srv/second.deb"], check=True, stdout=subprocess.DEVNULL)


def test_an_upgrade_keeps_settings_and_records_and_restarts(box, tmp_path):
    repacked(box, tmp_path)
    box.run("systemctl", "start", UNIT)
    settings, before, process = (
        (box.root / CONFIG[1:]).read_text(),
        records(box),
        show(box, "MainPID"),
    )
    install(box, "second.deb")
    assert box.run("dpkg-query", "-W", "-f", "${Version}", UNIT).stdout == f"{__version__}-2"
    assert box.systemctl("is-active", UNIT) == "active" and show(box, "MainPID") != process
    assert (box.root / CONFIG[1:]).read_text() == settings and records(box) >= before > 0
    assert box.run("cat", "/etc/epithermal/credentials/password").stdout == "secret\n"


def test_a_bad_configuration_does_not_break_dpkg(box):
    path = box.root / CONFIG[1:]
    path.write_text(f"x = 1\n{STATION}")
    done = install(box, "second.deb")
    assert "the service did not restart" in done.stderr
    assert box.run("dpkg-query", "-W", "-f", "${Status}", UNIT).stdout == "install ok installed"
    assert box.systemctl("is-active", UNIT) == "failed"
    path.write_text(STATION)
    box.run("systemctl", "start", UNIT)


def test_removing_keeps_settings_and_records_and_purging_leaves_nothing(box):
    before = records(box)
    box.run("dpkg", "-r", UNIT)
    assert box.systemctl("is-active", UNIT) == "inactive"
    assert not (box.root / "usr/lib/epithermal").exists()
    assert (box.root / CONFIG[1:]).read_text() == STATION
    install(box, "second.deb")
    box.run("systemctl", "start", UNIT)
    assert records(box) >= before > 0
    box.run("dpkg", "-P", UNIT)
    assert listing(box.root) == box.before
    assert (box.root / "etc/passwd").read_text() == box.users
    assert box.run("dpkg-query", "-W", UNIT, check=False).returncode == 1


def test_each_command_of_install_md_runs(box):
    codes = {"epithermal-edge status": (0, 1), "mosquitto_sub": (27,)}  # degraded; -W has passed
    shutil.copy(AMD64, box.root / "srv" / AMD64.name)
    outputs = {}
    for command in commands(ROOT / "docs" / "install.md"):
        if excuse("docs/install.md", command) != BOOTED:
            continue
        command = command.replace("sudo ", "").replace("_arm64", "_amd64")
        if command.startswith("epithermal-edge check"):  # after `sudo editor`
            (box.root / CONFIG[1:]).write_text(STATION)
        command = command.replace("apt ", "apt -y ")  # confirms
        script = f"cd /srv; export DEBIAN_FRONTEND=noninteractive; {command}"
        done = box.run("bash", "-c", script, check=False)
        expected = next((c for name, c in codes.items() if command.startswith(name)), (0,))
        assert done.returncode in expected, f"{command}: {done.stdout}\n{done.stderr}"
        outputs[command] = done.stdout
    assert len(outputs) >= 9
    (heard,) = (text for command, text in outputs.items() if command.startswith("mosquitto_sub"))
    assert "crns/v1/booted-1/status" in heard and "online" in heard
    assert listing(box.root) == box.before, "purged"


def test_a_station_of_install_sh_is_not_overrun(box):
    box.run("mkdir", "-p", "/opt/epithermal/current")
    done = box.run("dpkg", "-i", "/srv/first.deb", check=False)
    assert done.returncode != 0 and "deploy/install.sh --uninstall" in done.stderr


def test_the_same_commit_gives_the_same_bytes(tmp_path):
    import sys

    command = [
        sys.executable,
        ROOT / "deploy/debian/build.py",
        "--arch",
        "amd64",
        "--out",
        tmp_path,
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / AMD64.name).read_bytes() == AMD64.read_bytes()


@pytest.mark.skipif(shutil.which("lintian") is None, reason="apt install lintian")
@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_lintian_finds_no_error(arch):
    package = PACKAGES / AMD64.name.replace("amd64", arch)
    command = ["lintian", "--allow-root", "--fail-on", "error,warning", package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def unpacked(root, arch, folder):
    """Unpack a package into a copy of a Debian; return its folder."""
    subprocess.run(["cp", "-a", root, folder], check=True)  # devices are copied as devices
    package = PACKAGES / AMD64.name.replace("amd64", arch)
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    (folder / "srv").mkdir(exist_ok=True)
    return Path(folder)


@pytest.mark.skipif(bool(fresh.why_no_emulation()), reason="apt install qemu-user-static")
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_an_arm64_station_computes_what_an_amd64_one_does(suite, tmp_path):
    tables = {}
    for arch, root in (("arm64", fresh.arm64(suite)), ("amd64", fresh.debian(suite))):
        folder = unpacked(root, arch, tmp_path / arch)
        (folder / LINES[1:]).write_bytes(b"".join(lines(101 / 24)))
        text = STATION.partition("[mqtt]")[0].replace(
            "/var/lib/epithermal/models/current", f"/usr/share/epithermal/models/{MODEL}"
        )
        (folder / "srv/station.toml").write_text(text)
        station = ["chroot", folder, "/usr/bin/epithermal-edge"]
        done = subprocess.run(
            [*station, "selftest", f"/usr/share/epithermal/models/{MODEL}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        print(suite, arch, done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr
        replay = ["replay", "/srv/station.toml", LINES, "--out", "/srv/est.csv"]
        subprocess.run([*station, *replay], check=True, capture_output=True)
        tables[arch] = (folder / "srv/est.csv").read_text().splitlines()
    largest, compared = apart(tables["arm64"], tables["amd64"])
    print(
        f"{suite}: {len(tables['arm64']) - 1} records, {compared} numbers, apart by {largest:.2g}"
    )
    assert len(tables["arm64"]) - 1 >= 100 and compared > 1000 and largest <= 1e-5


def apart(rows, others):
    """Compare two tables; return the largest difference and the count of their numbers."""
    assert len(rows) == len(others)
    largest, count = 0.0, 0
    for row, other in zip(rows, others, strict=True):
        for a, b in zip(row.split(","), other.split(","), strict=True):
            if a != b:
                largest = max(largest, abs(float(a) - float(b)))
            count += re.fullmatch(r"-?[0-9]+\.[0-9]+", a) is not None
    return largest, count
