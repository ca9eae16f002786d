"""The engine that a configuration asks for, its bundle proved on the runtime at hand."""

from __future__ import annotations

import logging
from pathlib import Path

from epithermal_edge.config.station_toml import Config
from epithermal_edge.errors import BundleError
from epithermal_edge.inference import estimator, runtime
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.inference.engine import Engine

log = logging.getLogger(__name__)


def load_engine(config: Config, path: Path | None = None) -> Engine:
    """The engine, after its bundle has proved itself.

    Parameters
    ----------
    path :
        Of another bundle than the configuration names.

    Raises
    ------
    BundleError
        Damaged, not understood, or the golden vectors fail.
    """
    bundle = open_bundle((path or config.bundle).resolve())  # a link may be led elsewhere meanwhile
    step = runtime.load(bundle)
    error = estimator.check_golden(bundle, step)
    log.info("bundle %s %s on %s: error %.2g", bundle.name, bundle.version, step.runtime, error)
    promised = tuple(gauge.name for gauge in config.weather)
    return Engine(config.site, bundle, step, config.limits, promised, config.soil_water)


def start_engine(config: Config) -> Engine:
    """The engine to start a station with: where its bundle does not work any more, the one before.

    Raises
    ------
    BundleError
        None of them works.
    """
    try:
        return load_engine(config)
    except BundleError as fault:
        from epithermal_edge.rollout import installed

        if config.bundle.name != installed.CURRENT or not config.bundle.parent.is_dir():
            raise
        return load_engine(config, installed.find_fallback(config.bundle.parent, fault))
