"""Load TensorFlow and Keras at first use, which takes seconds; suppress their output."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

SETTINGS = {  # environment variables, unless already set
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # its rounding depends on the processor
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
}


@functools.cache
def load() -> tuple[Any, Any]:
    """Return the modules `keras` and `tensorflow`."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    with quiet():
        import keras
        import tensorflow as tf

        # our small matrices gain nothing from two threads; `train` runs two half-batches at once
        tf.config.threading.set_intra_op_parallelism_threads(1)
    return keras, tf


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Discard warnings and all output to stdout and stderr, that of C libraries included."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with (
            open(os.devnull, "wb") as nowhere,
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
