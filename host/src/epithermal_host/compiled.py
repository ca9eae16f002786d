"""How our kernels are compiled: one set of numba options, typed, cached on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

# NaN and infinity keep their meaning (a diverging column must be seen), everything else may be
# reordered and fused. error_model "numpy": no branch for a division by zero.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}


def compiled(function: Function) -> Function:
    """Compile a kernel to machine code at its first call."""
    decorate = numba.njit(cache=True, error_model="numpy", fastmath=FASTMATH)
    return cast(Function, decorate(function))


def inlined(function: Function) -> Function:
    """Compile a small function into each kernel that calls it."""
    decorate = numba.njit(cache=True, error_model="numpy", fastmath=FASTMATH, inline="always")
    return cast(Function, decorate(function))
