"""SIGKILL at every step of a roll-out and at random moments: always a model, never a bad one.

The station resumes by itself: a good model is in use in the end; a model with a wrong signature, a
flipped bit, failing golden vectors or NaN on this station's records never is.
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time

import pytest
from tests.faults.size import size
from tests.support.bundles import flip, nan_bundle, version
from tests.support.rig import BUNDLE, PATIENCE_S, ROOT, Line, lines, station_toml, wait_until
from tests.support.signing import Minisigner

from epithermal_edge.config.station_toml import Trust
from epithermal_edge.errors import BundleError
from epithermal_edge.rollout import installed, rollout, state_file
from epithermal_edge.signatures import minisign

KILLS = size(10, 200)
HISTORY, TRIAL_HOURS = 48, 2
HEADER, *LINES = lines(60.0)
CASES = ("good", "good", "good", "signature", "flipped", "golden", "nan")
INSTALL_STEPS, RUN_STEPS = 26, 24  # interrupted file operations in the folder of bundles
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

# Imports are done once; each run is a process of its own, which kills itself before the n-th
# file operation in the folder of bundles (Python's audit events, PEP 578), or is killed from here.
SERVER = """
import json, os, signal, sys
from epithermal_edge.cli.main import main
import epithermal_edge.station.daemon, epithermal_edge.rollout.rollout, epithermal_edge.cli.model
import epithermal_edge.rollout.download, epithermal_edge.rollout.trial
import epithermal_edge.journal.history, serial, tarfile, tempfile
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
CHANGES = {"os.rename", "os.symlink", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.chown"}
def cut_before(step, folder):
    left = [step]
    def hook(event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        if (event in CHANGES or writes) and any(
            isinstance(x, (str, os.PathLike)) and os.fspath(x).startswith(folder) for x in arguments
        ):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
for line in sys.stdin:
    words, step, folder = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)  # stdout is the protocol with the test
        if step:
            cut_before(step, folder)
        try:
            os._exit(main(words))
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(99)
    print(child, flush=True)
""".replace("WRITES", str(WRITES))


class Lives:
    """Processes forked from one that has imported everything."""

    def __init__(self, folder):
        self._log = folder / "lives.log"
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("ab"),
            text=True,
        )
        self._pids = []

    def begin(self, words, step=0, folder=""):
        self._opened = self.log().count(" is open")
        self._server.stdin.write(json.dumps([list(map(str, words)), step, str(folder)]) + "\n")
        self._server.stdin.flush()
        pid = int(self._server.stdout.readline())
        self._pids.append(pid)
        return pid

    def log(self):
        return self._log.read_text()

    def is_open(self):
        """Check whether the newest process has opened its port."""
        return self.log().count(" is open") > self._opened

    def close(self):
        for pid in self._pids:
            kill(pid)
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


def is_running(pid):
    return os.path.exists(f"/proc/{pid}")


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 9)
    wait_until(lambda: not is_running(pid))


class Site:
    """A station with a history, and its logger."""

    def __init__(self, folder, template, key_line, line):
        shutil.copytree(template, folder, symlinks=True)
        self.models, self.line, self.at = folder / "models", line, HISTORY
        keys = f'keys = ["{key_line}"]\ntrial_hours = {TRIAL_HOURS}\n'
        self.toml = station_toml(
            folder, url=self.line.name, bundle=self.models / "current", model=keys
        )

    def candidate(self):
        return state_file.read(self.models).candidate

    def send_hour(self, lives):
        """Send the next hour if the port is open."""
        if lives.is_open() and self.at < len(LINES):
            self.line.write(HEADER + LINES[self.at])
            self.at += 1

    def live(self, lives, pid, until):
        """Send hours, no faster than a shadow follows, until `until()` or the process has ended."""
        end, turn = time.monotonic() + PATIENCE_S, 0
        while is_running(pid) and not until():
            assert time.monotonic() < end, lives.log()[-3000:]
            if (turn := turn + 1) % 8 == 0:
                self.send_hour(lives)
            time.sleep(0.03)


def make_bundles(folder, signer):
    """Make one good bundle and each bad one, all signed; one has a wrong signature."""
    made = {}
    for name in set(CASES):
        (folder / name).mkdir()
        make = nan_bundle if name == "nan" else version
        options = {"spoil": True} if name == "golden" else {}
        made[name] = signer.sign_bundle(make(folder / name, "0.2.0", **options))
    shutil.copy(made["golden"] / "MANIFEST.minisig", made["signature"])
    flip(made["flipped"] / "model.tflite")
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Yield signer, bundles and a station that has measured for two days."""
    folder = tmp_path_factory.mktemp("rollout")
    signer = Minisigner(folder)
    made = make_bundles(folder, signer)
    template = folder / "template"
    template.mkdir()
    old = signer.sign_bundle(shutil.copytree(BUNDLE, folder / "old"))
    trust = Trust((minisign.parse_public_key(signer.line),))
    rollout.install(template / "models", old, rollout.Request(trust))
    lives, line = Lives(folder), Line()
    toml = station_toml(template, url=line.name, bundle=template / "models" / "current")
    try:
        lives.begin(["run", toml])
        wait_until(lives.is_open)
        line.write(HEADER + b"".join(LINES[:HISTORY]))
        wait_until(lambda: records(template) >= HISTORY, lives.log())
    finally:
        lives.close()
    yield folder, signer, made, template, line
    line.close()


def records(folder):
    """Count the records in a station's journal."""
    from epithermal_edge.journal.history import open_readonly, read_entries

    path = folder / "state" / "journal.sqlite3"
    if not path.is_file():
        return 0
    with contextlib.closing(open_readonly(path)) as db:
        return sum(1 for _ in read_entries(db))


def cut(lives, site, source, rng, number):
    """Kill one process while it installs a bundle or while the station tries it."""
    at_random, in_install = number % 4 == 3, number % 2 == 0
    install = ["model", "install", site.toml, source]
    steps = INSTALL_STEPS if in_install else RUN_STEPS
    step = 0 if at_random else 1 + (number // 2 * 7) % steps
    if in_install:
        pid = lives.begin(install, step, site.models)
        if at_random:
            time.sleep(rng.uniform(0.0, 0.5))
            kill(pid)
        wait_until(lambda: not is_running(pid), lives.log()[-2000:])
        return
    first = lives.begin(install)
    wait_until(lambda: not is_running(first))
    pid, begin = lives.begin(["run", site.toml], step, site.models), time.monotonic()
    longest_s = rng.uniform(0.0, 4.0) if at_random else PATIENCE_S
    site.live(lives, pid, lambda: site.candidate() is None or time.monotonic() - begin > longest_s)
    kill(pid)


def check_model(site, case):
    """Verify the model in use, assert that it is none of the bad ones, return its version."""
    bundle = installed.verify_bundle(site.models / "current")
    assert bundle.version in (("0.1.0", "0.2.0") if case == "good" else ("0.1.0",)), case
    return bundle.version


def test_a_kill_at_any_step_leaves_a_model_and_never_a_bad_one(place, seed, record_property):
    folder, signer, made, template, line = place
    rng, lives = random.Random(seed), Lives(folder)
    trust = Trust((minisign.parse_public_key(signer.line),))
    cut_states, accepted = {}, 0
    try:
        for number in range(KILLS):
            case = CASES[number % len(CASES)]
            site = Site(folder / f"site{number}", template, signer.line, line)
            cut(lives, site, made[case], rng, number)
            found = site.candidate()
            state = found.state if found else check_model(site, case)
            cut_states[state] = cut_states.get(state, 0) + 1
            check_model(site, case)
            pid, before = lives.begin(["run", site.toml]), site.at
            site.live(lives, pid, lambda s=site, b=before: s.candidate() is None and s.at > b + 1)
            if check_model(site, case) != "0.2.0":
                with contextlib.suppress(BundleError):
                    rollout.install(site.models, made[case], rollout.Request(trust))
                site.live(lives, pid, lambda s=site: s.candidate() is None)
            assert is_running(pid), lives.log()[-3000:]
            assert check_model(site, case) == ("0.2.0" if case == "good" else "0.1.0"), number
            accepted += case == "good"
            kinds = [event.kind for event in state_file.read(site.models).events]
            assert kinds[-1] == ("model_committed" if case == "good" else "model_rejected")
            wait_until(lambda s=site: records(s.toml.parent) > HISTORY)
            kill(pid)
            shutil.rmtree(site.toml.parent)
    finally:
        lives.close()
    assert "Traceback" not in lives.log()
    record_property("rollout_kills", KILLS)
    record_property("rollout_cut_when", cut_states)
    record_property("rollout_good_taken", accepted)
    record_property("rollout_bad_refused", KILLS - accepted)
    record_property("rollout_without_a_model", 0)
