"""Write files that appear under their names once they are complete, with optional packages."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from epithermal_edge.errors import EpithermalError


@contextlib.contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """Yield a file beside `path` that takes its name at the end; after an error it is deleted."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def optional(name: str, extra: str) -> Any:
    """Import an optional package.

    Raises
    ------
    EpithermalError
        It is not installed; names the extra to install.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise EpithermalError(
            f"{name} is not installed ({error}); pip install 'epithermal-edge[{extra}]'"
        ) from error
