"""Log lines: one per event, with syslog's priority only if journald reads them."""

import logging
import os
import subprocess
import sys

import pytest

from epithermal_edge.cli import logs


def formatted(level, text, priority=False, error=None):
    info = None if error is None else (type(error), error, None)
    record = logging.LogRecord("epithermal_edge.x", level, "f", 1, text, (), info)
    return logs.Logfmt(priority).format(record)


def test_an_event_is_one_line_of_key_and_value_even_with_a_traceback():
    line = formatted(logging.ERROR, 'a "b"\nc', error=ValueError("d"))
    assert "\n" not in line and line.endswith('text="a \\"b\\"\\nc\\nValueError: d"')
    assert line.startswith("time=2") and " level=error from=epithermal_edge.x " in line


@pytest.mark.parametrize(
    ("level", "prefix"),
    [("CRITICAL", "<2>"), ("ERROR", "<3>"), ("WARNING", "<4>"), ("INFO", "<6>"), ("DEBUG", "<7>")],
)
def test_priorities_are_those_of_syslog(level, prefix):
    assert formatted(getattr(logging, level), "x", priority=True).startswith(f"{prefix}time=")


SCRIPT = """
import logging, sys
from epithermal_edge.cli import logs
logs.to_stderr(sys.stderr, False)
logging.getLogger("epithermal_edge.y").error("z")
"""


@pytest.mark.parametrize("named", [True, False])
def test_the_priority_is_there_when_the_journal_stream_is_ours(tmp_path, named):
    with (tmp_path / "err").open("w+") as err:
        found = os.fstat(err.fileno())
        inode = found.st_ino if named else found.st_ino + 1
        environment = os.environ | {"JOURNAL_STREAM": f"{found.st_dev}:{inode}"}
        subprocess.run([sys.executable, "-c", SCRIPT], stderr=err, env=environment, check=True)
        err.seek(0)
        assert err.read().startswith("<3>time=" if named else "time=")
