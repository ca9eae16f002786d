"""Read files of a run folder that may be damaged."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, NoReturn

from epithermal_edge.errors import ConfigError

DAMAGE = (
    OSError,
    EOFError,
    ValueError,  # also JSON, TOML, Unicode, and arrays of objects, which are never unpickled
    LookupError,  # a missing key
    TypeError,  # another kind of value or of file
    AttributeError,
    ArithmeticError,
    NotImplementedError,  # a kind of compression
    RuntimeError,  # an encrypted file
    RecursionError,  # lists in lists
    MemoryError,  # a shape without its values
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
"""What the readers of npz, JSON and TOML raise for damaged content."""


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    remedy :
        What the user can do about a damaged file.

    Raises
    ------
    ConfigError
        The file cannot be read, is not JSON (NaN is not), or not an object.
    """
    try:
        value = json.loads(path.read_text("utf-8"), parse_constant=_reject_constant)
        if not isinstance(value, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as fault:
        raise ConfigError(f"{path}: damaged ({fault}): {remedy}") from fault
    return value


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")
