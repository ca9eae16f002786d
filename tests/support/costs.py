"""A plugin of pytest: measure the processor time and the waiting time of every test.

    COSTS=build/costs.jsonl pytest -p tests.support.costs ...
    python -m tests.support.costs build/costs.jsonl

Wall time says little on a busy machine. A test's processor time is that of this process and of the
children that have ended in it; its waiting time is what this thread slept, be it for an event or
for a child, without the time in which it could have run and another process had the processor.
A fixture of a session or a module counts for the test that is first to need it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest

SLOWEST = 30


def _readings() -> tuple[float, float, float]:
    """Return processor time, wall time and the time on or in the queue for a processor [s]."""
    times = os.times()
    processor = times.user + times.system + times.children_user + times.children_system
    on, queued, _ = Path("/proc/thread-self/schedstat").read_text().split()
    return processor, time.monotonic(), (int(on) + int(queued)) / 1e9


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Append one line with the costs of a test; lines of several workers do not mix."""
    before = _readings()
    result = yield
    cpu_s, wall_s, ready_s = (b - a for a, b in zip(before, _readings(), strict=True))
    row = {"test": item.nodeid, "cpu_s": round(cpu_s, 3), "wait_s": round(wall_s - ready_s, 3)}
    with Path(os.environ["COSTS"]).open("a") as file:
        file.write(json.dumps(row) + "\n")
    return result


def table(rows: list[dict[str, object]], key: str) -> str:
    """Return the slowest rows, summed by test or by file, and the sum of all."""
    cpu_s: defaultdict[str, float] = defaultdict(float)
    wait_s: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        name = str(row["test"]).partition("::" if key == "file" else "\n")[0]
        cpu_s[name] += float(str(row["cpu_s"]))
        wait_s[name] += float(str(row["wait_s"]))
    names = sorted(cpu_s, key=lambda name: -cpu_s[name] - wait_s[name])
    lines = [f"| {key} | processor [s] | waiting [s] |", "|---|---|---|"]
    lines += [f"| `{n}` | {cpu_s[n]:.1f} | {wait_s[n]:.1f} |" for n in names[:SLOWEST]]
    lines += [f"| all {len(names)} | {sum(cpu_s.values()):.0f} | {sum(wait_s.values()):.0f} |"]
    return "\n".join(lines)


if __name__ == "__main__":
    measured = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    print(table(measured, "file"), table(measured, "test"), sep="\n\n")
