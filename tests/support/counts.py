"""Write counts of a synthetic soil with the same water content at every depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Container
from pathlib import Path

import numpy as np

from epithermal_edge.loggers.parser import RECORDS_HEADER, format_record
from epithermal_edge.physics.cosmic import cosmic_rate
from epithermal_edge.records import RawRecord
from epithermal_host.field.site_toml import read_site


def write_counts(
    site_toml: Path,
    theta: np.ndarray,
    first_s: float,
    n_cph: float,
    dark: Container[int] = (),
    frost: Container[int] = (),
) -> None:
    """Write hourly counts.csv beside the site file; theta is daily, days in `dark` have none.

    The air has 10 degC, on days in `frost` -10.
    """
    site = dataclasses.replace(read_site(site_toml).site, cosmic_n_cph=n_cph)
    pressure, lines = float(site.pressure_ref_hpa), []
    for i in range(24 * len(theta)):
        is_dark = i // 24 in dark
        counts = 0.0 if is_dark else float(np.round(cosmic_rate(theta[[i // 24]], site)[0]))
        span_s, end_s = 0.0 if is_dark else 3600.0, first_s + 3600.0 * (i + 1)
        air_c = -10.0 if i // 24 in frost else 10.0
        lines.append(format_record(RawRecord(end_s, span_s, counts, pressure, air_c, 0.0)))
    (site_toml.parent / "counts.csv").write_bytes(RECORDS_HEADER + b"".join(lines))
