"""Turn a detector's records into estimates of soil water: the stream that station and training run.

In: a `RawRecord` at a time, a `Site`, a model bundle (`open_bundle`). Out: corrected record,
`Estimate` and new state, all values; `Engine` holds what does not change, `start` gives the first
state, `advance` takes a record. First file to open: engine.py; then pipeline.py (records to
features) and bundle.py (what a network wants).
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, which need not be loaded for it

__all__ = ["Engine", "advance", "open_bundle", "start"]

if TYPE_CHECKING:
    from epithermal_edge.inference.bundle import open_bundle
    from epithermal_edge.inference.engine import Engine, advance, start


def __getattr__(name: str) -> object:
    """Load an exported name at its first use: the command line starts without numpy."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from epithermal_edge.inference import bundle, engine

    return getattr(bundle if name == "open_bundle" else engine, name)
