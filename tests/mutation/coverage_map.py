"""Record which tests run which line of the packages, and how long each test takes.

    python -m tests.mutation.coverage_map edge|host

writes build/mutants/map-<part>.json. The map stays useful while the code changes: it keeps the
lines it was made of, and a new line takes the tests of the lines around it.
"""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "mutants"
SOURCES = ("edge/src", "host/src")
PLUGIN = "tests.mutation.durations"
# What mostly waits, or builds things for minutes, is no part of it.
PARTS = {
    "edge": (
        "tests/edge",
        "--ignore=tests/edge/page/test_browser.py",
        "tests/faults/test_clock.py",
    ),
    "host": (
        *("tests/host", "tests/contract"),
        *("--ignore=tests/contract/test_docs_run.py", "--ignore=tests/contract/test_site.py"),
    ),
}


@dataclass(frozen=True)
class Map:
    """Of each file its lines when the map was made, and the tests that ran each; durations [s].

    A test whose fixture, not itself, ran the line stands in `fixtures`: others of its file may
    use what the fixture has built.
    """

    lines: dict[str, list[str]]
    tests: dict[str, dict[int, list[str]]]
    fixtures: dict[str, dict[int, list[str]]]
    duration_s: dict[str, float]

    def covering(self, path: str, text: str, line: int) -> tuple[list[str], list[str]]:
        """Return the tests that ran this line of today's source, and those whose fixtures did."""
        old = _old_line(self.lines.get(path, []), text.splitlines(), line)
        covering = self.tests.get(path, {}).get(old, [])
        return covering, self.fixtures.get(path, {}).get(old, [])


def _old_line(old: list[str], new: list[str], line: int) -> int:
    """Return the number in `old` of a line of `new`; of the last one before it where it is new."""
    found = 0
    for block in difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
        if block.b > line - 1:
            break
        found = block.a + min(line - block.b, block.size)
    return found


def read_maps() -> Map:
    """Return the maps that were made, as one."""
    joined = Map({}, {}, {}, {})
    for file in sorted(BUILD.glob("map-*.json")):
        stored = json.loads(file.read_text())
        joined.duration_s.update(stored["duration_s"])
        joined.lines.update(stored["lines"])
        for name, into in (("tests", joined.tests), ("fixtures", joined.fixtures)):
            for path, by_line in stored[name].items():
                known = into.setdefault(path, {})
                for line, tests in by_line.items():
                    known.setdefault(int(line), []).extend(tests)
    return joined


def make(part: str, jobs: int) -> None:
    """Run the tests of a part under coverage and write its map."""
    BUILD.mkdir(parents=True, exist_ok=True)
    data, durations = BUILD / f"coverage-{part}", BUILD / f"durations-{part}.json"
    python_path = os.pathsep.join(str(ROOT / source) for source in SOURCES)
    command = [sys.executable, "-m", "pytest", *PARTS[part], "-m", "not slow and not hydrus"]
    command += ["-q", "-n", f"{jobs}", "--dist", "loadfile", "--no-loadscope-reorder"]
    command += ["-p", PLUGIN, "--cov-context=test", "--cov-report=", "-p", "no:cacheprovider"]
    command += ["--cov=epithermal_edge", "--cov=epithermal_host"]
    env = os.environ | {
        "COVERAGE_FILE": str(data),
        "PYTHONPATH": python_path,
        "DURATIONS": str(durations),
    }
    subprocess.run(command, cwd=ROOT, env=env)
    report = json.loads(durations.read_text())
    if report["failed"]:  # coverage makes tests slow: alone, they must pass
        alone = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        if subprocess.run([*alone, *report["failed"]], cwd=ROOT, env=env).returncode:
            raise SystemExit("the tests fail without any change")
    (BUILD / f"map-{part}.json").write_text(json.dumps(_measured(data, report["seconds"])))


def _measured(data: Path, seconds: dict[str, float]) -> dict[str, object]:
    measured = coverage.CoverageData(str(data))
    measured.read()
    lines, tests, fixtures = {}, {}, {}
    for name in measured.measured_files():
        file = Path(name)
        if not file.is_relative_to(ROOT):
            continue
        path = str(file.relative_to(ROOT))
        lines[path] = file.read_text().splitlines()
        tests[path], fixtures[path] = {}, {}
        for line, contexts in measured.contexts_by_lineno(name).items():
            ran = [context.rpartition("|")[::2] for context in contexts if context]
            tests[path][line] = sorted({test for test, phase in ran if phase == "run"})
            fixtures[path][line] = sorted({test for test, phase in ran if phase != "run"})
    return {"lines": lines, "tests": tests, "fixtures": fixtures, "duration_s": seconds}


if __name__ == "__main__":
    make(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2)
