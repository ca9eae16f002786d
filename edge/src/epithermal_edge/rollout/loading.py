"""Load the engine of a configuration, and verify its bundle on the installed runtime."""

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
    """Load an engine and verify its bundle.

    Parameters
    ----------
    path :
        Bundle to load instead of the configured one.

    Raises
    ------
    BundleError
        The bundle is damaged or of an unknown schema, or the golden vectors fail.
    """
    bundle = open_bundle((path or config.bundle).resolve())  # resolved once: the link may change
    step = runtime.load(bundle)
    error = estimator.check_golden(bundle, step)
    log.info("bundle %s %s on %s: error %.2g", bundle.name, bundle.version, step.runtime, error)
    promised = tuple(gauge.name for gauge in config.weather)
    return Engine(
        *(config.site, bundle, step, config.limits, promised, config.soil_water, config.snow),
        root_zone=config.root_zone,
    )


def start_engine(config: Config) -> Engine:
    """Load the engine to start a station with; fall back to the previous bundle.

    Raises
    ------
    BundleError
        The bundle fails its checks, and so does the previous one, if any.
    """
    try:
        return load_engine(config)
    except BundleError as fault:
        from epithermal_edge.rollout import installed

        if config.bundle.name != installed.CURRENT or not config.bundle.parent.is_dir():
            raise
        return load_engine(config, installed.find_fallback(config.bundle.parent, fault))
