"""How our kernels are compiled: one set of numba options, typed, cached on disk.

numba's own cache looks only at the file of the function that is called: a change in a function
that it calls, in another file, would go unseen. So the cache's folder carries the hash of all
kernels, and a change of any compiles anew.
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

# NaN and infinity keep their meaning (a diverging column must be seen), everything else may be
# reordered and fused. error_model "numpy": no branch for a division by zero.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
KERNELS = (
    "compute/numba_cache.py",
    "neutrons/cosmic_kernel.py",
    "soil/richards_kernel.py",
    "soil/richards_newton.py",
    "soil/richards_time.py",
)


def cache_folder() -> Path:
    """Where machine code is kept: NUMBA_CACHE_DIR or the user's cache, by hash of the kernels.

    Where that cannot be written, a folder of this process: it compiles for itself.
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
    config.CACHE_DIR = _FOLDER  # numba chooses the file's place here and now
    try:
        decorate = numba.njit(cache=True, error_model="numpy", fastmath=FASTMATH)
        return cast(Function, decorate(function))
    finally:
        config.CACHE_DIR = before
