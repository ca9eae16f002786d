"""Compile kernels with one set of numba options, and cache their machine code on disk.

numba's own cache checks only the file of the called function and misses a change of a function
that this one calls from another file. The name of the cache folder therefore contains a hash of
all kernels, so that any change recompiles them.
"""

from __future__ import annotations

import functools
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
    "simulation/detector_kernel.py",
    "soil/richards_kernel.py",
    "soil/richards_newton.py",
    "soil/richards_time.py",
    "weather/recurrences.py",
)


@functools.cache
def cache_folder() -> Path:
    """Create the folder of the compiled kernels, in NUMBA_CACHE_DIR or the user's cache.

    Its name contains a hash of all kernels. If it is not writable, return a temporary folder, so
    that this process compiles for itself.
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


def compiled(function: Function) -> Function:
    """Compile a kernel to machine code at its first call, or load it from the cache.

    numba creates the cache folder when caching is enabled, so this enables it at the first
    compilation only: importing a kernel writes no file.
    """
    return _compiled(function, FASTMATH)


def compiled_in_place(function: Function) -> Function:
    """Compile like `compiled` a kernel that creates no array: without counting references.

    numba counts them at each call with locked instructions of about 20 cycles, one for each array.
    """
    return _compiled(function, FASTMATH, _nrt=False)


def compiled_exactly(function: Function) -> Function:
    """Compile like `compiled`, but keep every operation and its rounding, as Python does."""
    return _compiled(function, set())


def _compiled(function: Function, fastmath: set[str], **options: bool) -> Function:
    njit: Any = numba.njit  # its stubs do not know _nrt
    kernel: Any = njit(error_model="numpy", fastmath=fastmath, **options)(function)
    if kernel is function:  # NUMBA_DISABLE_JIT
        return function
    compile_or_load = kernel.compile

    def first(signature: Any) -> Any:
        if vars(kernel).pop("compile", None) is not None:  # restores the method of its class
            _enable_cache(kernel)
        return compile_or_load(signature)

    kernel.compile = first
    return cast(Function, kernel)


def _enable_cache(kernel: Any) -> None:
    """Enable numba's cache in `cache_folder`; numba reads its configuration during this call."""
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(cache_folder())
    try:
        kernel.enable_caching()
    finally:
        config.CACHE_DIR = before
