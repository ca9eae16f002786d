"""Write files atomically: after an interruption a file is complete or absent."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


@contextlib.contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` when the block ends without an error.

    An interruption leaves the old or the new content, never a part.

    Parameters
    ----------
    path :
        Its folder is created where missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that an interruption leaves the old or the new content, never a part.

    Parameters
    ----------
    path :
        Its folder is created where missing.
    """
    with open_atomic(path) as file:
        file.write(content)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON in the same way; reject NaN, which is not valid JSON."""
    text = json.dumps(value, indent=2, allow_nan=False)
    write_atomic(path, text.encode("utf-8") + b"\n")
