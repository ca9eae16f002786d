"""Compile the kernels with one set of numba options and cache them on disk.

numba's own cache checks only the file of the called function and misses a change of a function
that this one calls from another file. The name of the cache folder therefore contains a hash of
all kernels, so that any change recompiles them.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

# NaN and infinity keep their meaning, because a diverging column must be detected; all other
# operations may be reordered and fused. error_model "numpy": no branch for a division by zero.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
KERNELS = (
    "compute/numba_cache.py",
    "neutrons/cosmic_kernel.py",
    "soil/richards_kernel.py",
    "soil/richards_newton.py",
    "soil/richards_time.py",
)


def cache_folder() -> Path:
    """Return the folder of the compiled kernels, in NUMBA_CACHE_DIR or the user's cache.

    If it is not writable, return a temporary folder, so that this process compiles for itself.
    """
    here = Path(__file__).parents[1]
    digest = hashlib.sha256(b"".join((here / name).read_bytes() for name in KERNELS))
    user = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    base = Path(os.environ.get("NUMBA_CACHE_DIR") or f"{user}/epithermal")
    folder = base / f"kernels-{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="epithermal-"))
    return folder if os.access(folder, os.W_OK) else Path(tempfile.mkdtemp(prefix="epithermal-"))


_FOLDER = str(cache_folder())


def compiled(function: Function) -> Function:
    """Compile a kernel to machine code at its first call."""
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = _FOLDER  # numba reads it while it decorates
    try:
        decorate = numba.njit(cache=True, error_model="numpy", fastmath=FASTMATH)
        return cast(Function, decorate(function))
    finally:
        config.CACHE_DIR = before
