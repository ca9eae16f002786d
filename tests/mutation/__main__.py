"""Change one line at a time and see which changes no test notices: `make mutants`.

A sample of lines, drawn by seed from MODULES, is changed in a copy of the tree, never in the
checkout. The tests that run the line are run, the fastest first, then its own test file. The report
lists each change that survived; those of judged.md change no behaviour that could be tested.
An interrupted run goes on where it ended.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from tests.mutation.changes import Change, changed_source, changes, lines_that_mean
from tests.mutation.coverage_map import BUILD, PARTS, ROOT, SOURCES, Map, make, read_maps

EDGE, HOST = "edge/src/epithermal_edge", "host/src/epithermal_host"
MODULES = (
    *(f"{EDGE}/inference/{name}.py" for name in ("pipeline", "features", "estimator", "qc")),
    *(f"{EDGE}/physics/{name}.py" for name in ("corrections", "cosmic")),
    f"{EDGE}/inference/irrigation.py",
    *(f"{EDGE}/station/{name}.py" for name in ("stamps", "timekeeper")),
    *(f"{EDGE}/journal/{name}.py" for name in ("journal", "outbox")),
    *(f"{EDGE}/mqtt/{name}.py" for name in ("delivery", "commands")),
    *(f"{EDGE}/rollout/{name}.py" for name in ("rollout", "trial")),
    f"{EDGE}/signatures/minisign.py",
    *(f"{EDGE}/loggers/{name}.py" for name in ("parser", "columns")),
    f"{EDGE}/config/station_toml.py",
    *(f"{HOST}/soil/{name}.py" for name in ("richards_newton", "richards_time")),
    *(f"{HOST}/simulation/{name}.py" for name in ("detector", "known_site")),
    *(f"{HOST}/training/{name}.py" for name in ("dataset", "train")),
    *(f"{HOST}/field/{name}.py" for name in ("calibrate", "calibration_fit", "weighted_mean")),
    f"{HOST}/retraining/head_fit.py",
    f"{HOST}/bundles/release.py",
    *(f"{HOST}/evaluation/{name}.py" for name in ("evaluate", "metrics")),
)
# where the tests of a module are, if not in the file of its name
OWN_TESTS = {
    f"{EDGE}/inference/features.py": "tests/edge/inference/test_pipeline.py",
    f"{EDGE}/station/stamps.py": "tests/faults/test_clock.py",
    f"{EDGE}/journal/outbox.py": "tests/edge/journal/test_journal.py",
    f"{EDGE}/loggers/columns.py": "tests/edge/loggers/test_parser.py",
    f"{HOST}/soil/richards_newton.py": "tests/host/soil/test_richards.py",
    f"{HOST}/soil/richards_time.py": "tests/host/soil/test_richards.py",
    f"{HOST}/field/calibration_fit.py": "tests/host/field/test_calibrate.py",
    f"{HOST}/field/weighted_mean.py": "tests/host/field/test_samples.py",
    f"{HOST}/retraining/head_fit.py": "tests/host/retraining/test_retrain.py",
}
JUDGED = Path(__file__).with_name("judged.md")
COPIED = ("edge", "host", "tests", "models", "deploy", "docs", "pyproject.toml", "README.md")
BUDGET_S = 150.0  # of tests for a change, as they took for the map
BAR = re.compile(r" \| (?=(?:[^`]*`[^`]*`)*[^`]*$)")  # between cells, not in `code`
KILLED, SURVIVED, TIMEOUT, EQUIVALENT = "killed", "survived", "timeout", "equivalent"


def sample(seed: int, number: int, part: str) -> list[Change]:
    """Draw `number` lines of the modules, and one change of each."""
    rng = random.Random(seed)
    texts = {path: (ROOT / path).read_text() for path in MODULES if path.startswith(part)}
    lines = [(path, line) for path, text in texts.items() for line in lines_that_mean(text)]
    rng.shuffle(lines)
    drawn: list[Change] = []
    for path, line in lines:
        found = changes(path, texts[path], line)
        if found:
            drawn.append(rng.choice(found))
        if len(drawn) == number:
            break
    return drawn


def rows(table: Path) -> list[tuple[str, ...]]:
    """Return the cells of a table in markdown, without its head; `code` loses its ticks."""
    lines = [line for line in table.read_text().splitlines() if line.startswith("| ")]
    cells = [BAR.split(line.strip().removeprefix("|").removesuffix("|")) for line in lines]
    return [
        tuple(cell.strip().removeprefix("`").removesuffix("`") for cell in row) for row in cells
    ]


def again(report: Path) -> list[Change]:
    """Return the survivors of an earlier report, where their lines are today."""
    found = []
    for place, verdict, before, after in (row[:4] for row in rows(report)[1:]):
        if verdict in (SURVIVED, TIMEOUT):
            path = place.partition(":")[0]
            lines = [line.strip() for line in (ROOT / path).read_text().splitlines()]
            if before in lines:
                found.append(Change(path, lines.index(before) + 1, before, after))
            else:
                print(f"{place}: gone: {before}")
    return found


class Crew:
    """A copy of the tree for each job, in which one change at a time is tested."""

    def __init__(self, jobs: int, known: Map, budget_s: float) -> None:
        self.known, self.budget_s = known, budget_s
        self._alone = (BUILD / "lock").open("w")
        try:
            fcntl.flock(self._alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise SystemExit(f"{BUILD}: another run changes these copies: wait for it") from fault
        self._today = _collected({test.partition("::")[0] for test in known.duration_s})
        self._lock = threading.Lock()
        self._free = [BUILD / f"tree-{job}" for job in range(jobs)]
        for tree in self._free:
            shutil.rmtree(tree, ignore_errors=True)
            ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
            for name in COPIED:
                source = ROOT / name
                copy = shutil.copytree if source.is_dir() else shutil.copy
                tree.mkdir(parents=True, exist_ok=True)
                copy(source, tree / name, **({"ignore": ignore} if source.is_dir() else {}))

    def test(self, change: Change) -> dict[str, object]:
        """Run the tests of a change; return it with the verdict and the test that killed it."""
        with self._lock:
            tree = self._free.pop()
        try:
            begin = time.monotonic()
            verdict, by = self._verdict(tree, change)
            took = {"verdict": verdict, "by": by, "took_s": round(time.monotonic() - begin, 1)}
            return asdict(change) | took
        finally:
            shutil.copy(ROOT / change.path, tree / change.path)
            with self._lock:
                self._free.append(tree)

    def _verdict(self, tree: Path, change: Change) -> tuple[str, str]:
        text = (ROOT / change.path).read_text()
        (tree / change.path).write_text(changed_source(text, change))
        for tests, expected_s in self._stages(change, text):
            verdict, by = _run(tree, tests, 60.0 + 4.0 * expected_s)
            # a test that fails for the load of the machine is no test that noticed
            if verdict == KILLED and "::" in by and _run(tree, [by], 300.0)[0] == SURVIVED:
                others = [test for test in self._expanded(tests) if test != by]
                verdict, by = _run(tree, others, 60.0 + 4.0 * expected_s)
            if verdict != SURVIVED:
                return verdict, by
        return SURVIVED, ""

    def _expanded(self, tests: list[str]) -> list[str]:
        """Return the tests with files replaced by their tests."""
        return [
            test for name in tests for test in ([name] if "::" in name else self._of_file(name))
        ]

    def _of_file(self, file: str) -> list[str]:
        return sorted(test for test in self._today if test.startswith(f"{file}::"))

    def _stages(self, change: Change, text: str) -> list[tuple[list[str], float]]:
        """Return the tests that run the line, then files whose fixtures do, with durations [s]."""
        running, building = self.known.covering(change.path, text, change.line)
        if not running and not building:  # a constant, or compiled code
            running, building = self._of_module(change.path)
        own = own_tests(change.path)
        chosen = self._affordable([test for test in running if test in self._today])
        files = {test.partition("::")[0] for test in building} | {own}
        stages = [(chosen, sum(self._seconds(test) for test in chosen))] if chosen else []
        for file in sorted(files, key=lambda file: (file != own, file)):
            took = sum(self._seconds(test) for test in self._of_file(file))
            if (ROOT / file).is_file() and (file == own or took < self.budget_s):
                stages.append(([file], took))
        return stages

    def _of_module(self, path: str) -> tuple[list[str], list[str]]:
        running = {t for tests in self.known.tests.get(path, {}).values() for t in tests}
        building = {t for tests in self.known.fixtures.get(path, {}).values() for t in tests}
        return sorted(running), sorted(building)

    def _affordable(self, tests: list[str]) -> list[str]:
        chosen, sum_s = [], 0.0
        for test in sorted(tests, key=self._seconds):
            sum_s += self._seconds(test)
            if sum_s <= self.budget_s:
                chosen.append(test)
        return chosen

    def _seconds(self, test: str) -> float:
        return self.known.duration_s.get(test, 1.0)


def _collected(files: set[str]) -> set[str]:
    """Return the tests that these files have today; those that are gone have none."""
    present = sorted(file for file in files if (ROOT / file).is_file())
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *present], cwd=ROOT, env=_environment(ROOT), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"the tests cannot be collected:\n{done.stdout}")
    return {line for line in done.stdout.splitlines() if "::" in line}


def _environment(tree: Path) -> dict[str, str]:
    """Return the environment in which the packages are those of a tree."""
    python_path = os.pathsep.join(str(tree / source) for source in SOURCES)
    shared = os.environ.get("EPITHERMAL_SHARED", str(ROOT.parent / "shared"))
    return os.environ | {"PYTHONPATH": python_path, "EPITHERMAL_SHARED": shared}


def own_tests(path: str) -> str:
    """Return the file of tests that mirrors a module."""
    part, _, _, folder, name = path.split("/")
    return OWN_TESTS.get(path, f"tests/{part}/{folder}/test_{name}")


def _run(tree: Path, tests: list[str], patience_s: float) -> tuple[str, str]:
    """Run tests in a copy of the tree; what hangs is ended with all its processes."""
    chosen = tree / "chosen.txt"
    chosen.write_text("\n".join(tests))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no"]
    command += ["-m", "not slow and not hydrus", "--no-header", f"@{chosen}"]
    with subprocess.Popen(
        command,
        cwd=tree,
        env=_environment(tree),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, _ = process.communicate(timeout=patience_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return TIMEOUT, ""
    if process.returncode in (0, 5):  # passed; none was chosen
        return SURVIVED, ""
    failed = [line for line in out.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    by = failed[0].split(" - ")[0].partition(" ")[2] if failed else ""
    return KILLED, by or out.strip().splitlines()[-1]


def report(results: list[dict[str, object]], seed: int) -> str:
    """Return the figure and the table of what was not killed."""
    judged = {row[:3]: row[3] for row in rows(JUDGED)[1:]} if JUDGED.is_file() else {}
    lines = []
    count: Counter[object] = Counter()
    for result in sorted(results, key=lambda r: (str(r["path"]), r["line"])):
        key = (result["path"], result["before"], result["after"])
        reason = judged.get(key, "")  # type: ignore[call-overload]
        verdict = EQUIVALENT if reason and result["verdict"] == SURVIVED else result["verdict"]
        count[verdict] += 1
        if verdict != KILLED:
            place = f"{result['path']}:{result['line']}"
            cells = (place, verdict, f"`{result['before']}`", f"`{result['after']}`", reason)
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    real = len(results) - count[EQUIVALENT]
    noticed = count[KILLED] + count[TIMEOUT]
    figure = (
        f"Seed {seed}: {len(results)} changes, {count[KILLED]} killed, {count[TIMEOUT]} timed out,"
        f" {count[SURVIVED]} survived, {count[EQUIVALENT]} are equivalent; noticed"
        f" {noticed / max(len(results), 1):.0%}, of those not equivalent"
        f" {noticed / max(real, 1):.0%}."
    )
    head = "| file:line | verdict | line | became | why equivalent |\n|---|---|---|---|---|"
    return "\n".join((figure, "", head, *lines)) + "\n"


def main() -> None:
    """Run a sample, or the survivors of a report again."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--part", choices=("edge", "host", ""), default="", help="default: both")
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="[s] of tests for a change")
    parser.add_argument("--again", type=Path, help="a report, whose survivors are tried again")
    parser.add_argument("--list", action="store_true", help="print the changes and test none")
    options = parser.parse_args()
    drawn = (
        again(options.again)
        if options.again
        else sample(options.seed, options.number, options.part)
    )
    if options.list:
        for change in drawn:
            print(f"{change.path}:{change.line}: {change.before}  ->  {change.after}")
        return
    for part in [options.part] if options.part else PARTS:
        if not (BUILD / f"map-{part}.json").is_file():
            make(part, options.jobs)
    name = options.again.stem + "-again" if options.again else f"seed-{options.seed}"
    stored = BUILD / f"{name}{'-' * bool(options.part)}{options.part}.jsonl"
    results = _run_all(drawn, stored, Crew(options.jobs, read_maps(), options.budget))
    text = report(results, options.seed)
    stored.with_suffix(".md").write_text(text)
    print(text)


def _run_all(drawn: list[Change], stored: Path, crew: Crew) -> list[dict[str, object]]:
    """Test the changes that the file of results does not hold yet; return the results of all."""
    known = (
        [json.loads(line) for line in stored.read_text().splitlines()] if stored.is_file() else []
    )
    by_change = {(r["path"], r["before"], r["after"]): r for r in known}
    missing = [c for c in drawn if (c.path, c.before, c.after) not in by_change]
    with ThreadPoolExecutor(len(crew._free)) as pool, stored.open("a") as file:
        for done in as_completed([pool.submit(crew.test, change) for change in missing]):
            result = done.result()
            file.write(json.dumps(result) + "\n")
            file.flush()
            by_change[result["path"], result["before"], result["after"]] = result
            print(
                f"{result['verdict']:9} {result['took_s']:6} s {result['path']}:{result['line']}: "
                f"{result['before']}  ->  {result['after']}  {result['by']}",
                flush=True,
            )
    return [by_change[c.path, c.before, c.after] for c in drawn]


if __name__ == "__main__":
    main()
