"""Simulate a detector: plausible logger lines, to try a station without a field.

The soil is a leaky bucket; epithermal-host simulates the soils that train a network.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from epithermal_edge.errors import ConfigError, SourceError
from epithermal_edge.loggers import parser
from epithermal_edge.physics.atmosphere import absolute_humidity
from epithermal_edge.physics.corrections import humidity_factor, pressure_factor
from epithermal_edge.physics.cosmic import cosmic_rate
from epithermal_edge.records import RawRecord
from epithermal_edge.site import Site
from epithermal_edge.times import DAY_S, HOUR_S

POROSITY, DRY = 0.42, 0.08  # [m3 m-3]
ROOT_MM = 300.0
RAIN_PER_D, RAIN_MM = 0.25, 9.0  # showers per day, mean depth of one

SITE = Site(cosmic_n_cph=430.0, bulk_density_g_cm3=1.4, latitude_deg=51.0)
"""Site of the simulated detector, at sea level pressure."""


@dataclass(frozen=True, slots=True)
class Weather:
    """Weather of one interval."""

    pressure_hpa: float
    temperature_c: float
    relative_humidity_pct: float
    rain_mm: float


def records(
    days: float, seed: int, start_s: float, interval_s: float = HOUR_S
) -> Iterator[RawRecord]:
    """Simulate the records of a detector.

    Parameters
    ----------
    days : [d]
    seed :
        The same seed gives the same records.
    start_s : [s]
        Unix time at which the first interval starts.
    interval_s : [s]
        Length of each interval.
    """
    rng = np.random.default_rng(seed)
    hours = interval_s / HOUR_S
    theta, pressure, warmth = 0.28, 0.0, 0.0
    for i in range(1, round(days * DAY_S / interval_s) + 1):
        end_s = start_s + i * interval_s
        fade = math.exp(-hours / 60.0)
        spread = math.sqrt(1.0 - fade * fade)
        pressure = pressure * fade + 8.0 * spread * float(rng.standard_normal())
        warmth = warmth * fade + 3.0 * spread * float(rng.standard_normal())
        day_angle = 2.0 * math.pi * (end_s % DAY_S) / DAY_S
        year_angle = 2.0 * math.pi * (end_s / DAY_S % 365.25) / 365.25
        temperature = 10.0 - 9.0 * math.cos(year_angle) - 4.0 * math.cos(day_angle) + warmth
        shower = rng.random() < RAIN_PER_D * hours / 24.0
        rain = float(rng.exponential(RAIN_MM)) if shower else 0.0
        humidity = min(max(72.0 + 15.0 * math.cos(day_angle) - 2.0 * warmth, 20.0), 100.0)
        loss = 0.13 * max(temperature, 0.0) / 10.0 * (theta - DRY) / (POROSITY - DRY) * hours
        theta = min(max(theta + (rain - loss) / ROOT_MM, DRY), POROSITY)
        air = Weather(1010.0 + pressure, temperature, humidity, rain)
        yield _count(rng, end_s, interval_s, theta, air)


def _count(
    rng: np.random.Generator, end_s: float, interval_s: float, theta: float, air: Weather
) -> RawRecord:
    """Draw the Poisson counts of one interval, whose live time differs by a few seconds."""
    duration_s = interval_s + int(rng.integers(-1, 3))
    vapour = absolute_humidity(air.temperature_c, air.relative_humidity_pct)
    factor = pressure_factor(air.pressure_hpa, SITE.beta_per_hpa, SITE.pressure_ref_hpa)
    factor = factor * humidity_factor(vapour)
    rate = float(cosmic_rate(theta, SITE)) / float(factor)
    return RawRecord(
        end_s=end_s,
        duration_s=duration_s,
        counts=float(rng.poisson(rate * duration_s / HOUR_S)),
        pressure_hpa=round(air.pressure_hpa, 1),
        temperature_c=round(air.temperature_c, 1),
        relative_humidity_pct=round(air.relative_humidity_pct, 1),
        rain_mm=round(air.rain_mm, 1),
    )


HYDROINNOVA_HEADER = (
    b"//Hydroinnova CRS-1000 Data\r\n\r\n"
    b"//RecordNum,Date Time(UTC),P4_mb,T_CS215,RH_CS215,Vbat,N1Cts,N1ET_sec,\r\n\r\n"
)


def _hydroinnova(number: int, record: RawRecord) -> bytes:
    stamp = datetime.fromtimestamp(record.end_s, UTC).strftime("%Y/%m/%d %H:%M:%S")
    return (
        f"{number:5d}, {stamp},{record.pressure_hpa:7.1f},{record.temperature_c:7.1f},"
        f"{record.relative_humidity_pct:5.1f}, 13.100,{record.counts:9.0f},"
        f"{record.duration_s:8.0f},\r\n"
    ).encode()


DIALECTS: dict[str, tuple[bytes, Callable[[int, RawRecord], bytes]]] = {
    "records": (
        parser.RECORDS_HEADER,
        lambda _, record: parser.format_record(record),
    ),
    "hydroinnova": (HYDROINNOVA_HEADER, _hydroinnova),
}
"""Header and line format of each logger that can be simulated."""


def lines(dialect: str, stream: Iterator[RawRecord]) -> Iterator[bytes]:
    """Yield the header, then one line per record, as the logger sends them.

    Parameters
    ----------
    dialect :
        A key of `DIALECTS`.

    Raises
    ------
    ConfigError
        The dialect is none of these.
    """
    if dialect not in DIALECTS:
        raise ConfigError(f"--dialect {dialect}: unknown; one of {', '.join(DIALECTS)}")
    header, line = DIALECTS[dialect]
    yield header
    for number, record in enumerate(stream, 1):
        yield line(number, record)


def send(stream: Iterator[bytes], url: str, lines_per_s: float | None) -> None:
    """Send lines to a port or to stdout.

    Parameters
    ----------
    url :
        URL or device name for pyserial's `serial_for_url`; "-" for stdout.
    lines_per_s : [s-1]
        None: as fast as the receiver accepts them.

    Raises
    ------
    SourceError
        The port cannot be opened or written.
    """
    if url == "-":
        _pace(stream, sys.stdout.buffer.write, sys.stdout.buffer.flush, lines_per_s)
        return
    import serial

    try:
        with serial.serial_for_url(url) as port:
            _pace(stream, port.write, port.flush, lines_per_s)
    except (serial.SerialException, OSError, ValueError) as error:
        raise SourceError(f"{url}: {error}; give a port that exists, or - for stdout") from error


def _pace(
    stream: Iterator[bytes],
    write: Callable[[bytes], object],
    flush: Callable[[], object],
    lines_per_s: float | None,
) -> None:
    for line in stream:
        write(line)
        if lines_per_s is not None:
            flush()
            time.sleep(1.0 / lines_per_s)
    flush()
