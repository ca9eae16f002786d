"""Write log lines of key=value to stderr, with syslog's priority where journald reads them."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from typing import IO

PRIORITY = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}


class Logfmt(logging.Formatter):
    """Formatter of lines `time=... level=... from=... text="..."`, with an escaped traceback.

    Parameters
    ----------
    priority :
        Begin each line with its priority, as `<3>`; see sd-daemon(3).
    """

    def __init__(self, priority: bool = False) -> None:
        super().__init__()
        self._priority = priority

    def format(self, record: logging.LogRecord) -> str:
        """Format one event as one line."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        level = record.levelname.lower()
        before = f"<{PRIORITY.get(record.levelname, 5)}>" if self._priority else ""
        return f"{before}time={stamp} level={level} from={record.name} text={json.dumps(text)}"


def goes_to_journald(stream: IO[str], environment: Mapping[str, str]) -> bool:
    """Check whether the stream is the one that systemd names in JOURNAL_STREAM.

    References
    ----------
    systemd.exec(5): device and inode of the file descriptor must agree, since a child inherits
    the variable and may write elsewhere.
    """
    named = environment.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{status.st_dev}:{status.st_ino}"


def to_stderr(stream: IO[str], verbose: bool) -> None:
    """Send log events of level INFO and above, or DEBUG and above, to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Logfmt(goes_to_journald(stream, os.environ)))
    root = logging.getLogger("epithermal_edge")
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
