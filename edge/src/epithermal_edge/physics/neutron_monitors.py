"""List the neutron monitors of NMDB, and scale f_i from one of them to a site."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from epithermal_edge.physics.atmosphere import atmospheric_depth
from epithermal_edge.physics.corrections import JUNG_DEPTH_G_CM2, hawdon_scale, mcjannet_scale
from epithermal_edge.site import USUAL_MONITOR, IncomingForm

SCALED_FORMS: tuple[IncomingForm, ...] = ("hawdon2014", "mcjannet2023")

# Short name at NMDB | place | vertical cutoff rigidity [GV] | altitude [m] | degrees north |
# degrees east | median count of 2010-2019 [s-1] | years of operation, as far as published.
# Cutoff and altitude: NMDB, NEST help (www.nmdb.eu/nest/help.php#helpstations), as in crnpy;
# counts: medians of NMDB's hours; years: Moraal et al. (2011), doi:10.7529/ICRC2011/V11/0475,
# Debrunner et al. (1989) and the pages of the stations.
_TABLE = """
AATB  | Alma-Ata B, Kazakhstan          |  5.90 | 3340 |  43.04 |   76.94 |       |
AHMD  | Ahmedabad, India                | 15.94 |   50 |  23.01 |   72.61 |       |
APTY  | Apatity, Russia                 |  0.65 |  181 |  67.57 |   33.40 |       |
ARNM  | Aragats, Armenia                |  7.10 | 3200 |  40.47 |   44.18 |       |
ATHN  | Athens, Greece                  |  8.53 |  260 |  37.97 |   23.78 |  56.1 |
BKSN  | Baksan, Russia                  |  5.70 | 1700 |  43.28 |   42.69 |       |
CALG  | Calgary, Canada                 |  1.08 | 1123 |  51.08 | -114.13 |       |
CALM  | Guadalajara, Spain              |  6.95 |  708 |  40.63 |   -3.16 |       |
CLMX  | Climax, Colorado                |  3.00 | 3400 |  39.37 | -106.18 |       | 1951-2006
DJON  | Daejeon, South Korea            | 11.20 |  200 |  36.24 |  127.22 |       |
DOMB  | Dome C, Antarctica, bare        |  0.01 | 3233 | -75.06 |  123.20 |       |
DOMC  | Dome C, Antarctica              |  0.01 | 3233 | -75.06 |  123.20 |       |
DRBS  | Dourbes, Belgium                |  3.18 |  225 |  50.10 |    4.59 | 110.2 |
ESOI  | Mount Hermon, Israel            | 10.75 | 2055 |  33.30 |   35.79 |       |
FSMT  | Fort Smith, Canada              |  0.30 |  180 |  60.02 | -111.93 |       |
HRMS  | Hermanus, South Africa          |  4.58 |   26 | -34.43 |   19.23 |       | 1957-
HUAN  | Huancayo, Peru                  | 12.92 | 3400 | -12.03 |  -75.33 |       |
INVK  | Inuvik, Canada                  |  0.30 |   21 |  68.36 | -133.72 |       |
IRK2  | Irkutsk 2, Russia               |  3.64 | 2000 |  52.37 |  100.55 |       |
IRK3  | Irkutsk 3, Russia               |  3.64 | 3000 |  51.29 |  100.55 |       |
IRKT  | Irkutsk, Russia                 |  3.64 |  435 |  52.47 |  104.03 |       |
JBGO  | Jang Bogo, Antarctica           |  0.30 |   29 | -74.62 |  164.23 |       |
JUNG  | Jungfraujoch, Switzerland, IGY  |  4.49 | 3570 |  46.55 |    7.98 | 159.6 | 1958-
JUNG1 | Jungfraujoch, Switzerland, NM64 |  4.49 | 3475 |  46.55 |    7.98 | 367.7 | 1986-
KERG  | Kerguelen, France               |  1.14 |   33 | -49.35 |   70.25 |       |
KGSN  | Kingston, Tasmania              |  1.88 |   65 | -42.99 |  147.29 |       |
KIEL  | Kiel, Germany                   |  2.36 |   54 |  54.34 |   10.12 | 167.8 |
KIEL2 | Kiel, Germany, real time        |  2.36 |   54 |  54.34 |   10.12 | 173.3 |
LMKS  | Lomnicky Stit, Slovakia         |  3.84 | 2634 |  49.20 |   20.22 | 460.6 |
MCMU  | McMurdo, Antarctica             |  0.30 |   48 | -77.90 |  166.60 |       | 1960-2017
MGDN  | Magadan, Russia                 |  2.10 |  220 |  60.04 |  151.05 |       |
MOSC  | Moscow, Russia                  |  2.43 |  200 |  55.47 |   37.32 |       |
MRNY  | Mirny, Antarctica               |  0.03 |   30 | -66.55 |   93.02 |       |
MWSN  | Mawson, Antarctica              |  0.22 |   30 | -67.60 |   62.88 |       |
MXCO  | Mexico City, Mexico             |  8.28 | 2274 |  19.33 |  -99.18 |       |
NAIN  | Nain, Canada                    |  0.30 |   46 |  56.55 |  -61.68 |       |
NANM  | Nor Amberd, Armenia             |  7.10 | 2000 |  40.37 |   44.25 |       |
NEU3  | Neumayer III, Antarctica        |  0.10 |   40 | -70.68 |   -8.27 |       |
NEWK  | Newark, Delaware                |  2.40 |   50 |  39.68 |  -75.75 |       |
NRLK  | Norilsk, Russia                 |  0.63 |    0 |  69.26 |   88.05 |       | 1971-
NVBK  | Novosibirsk, Russia             |  2.91 |  163 |  54.48 |   83.00 |       |
OULU  | Oulu, Finland                   |  0.81 |   15 |  65.05 |   25.47 | 107.1 | 1964-
PSNM  | Doi Inthanon, Thailand          | 16.80 | 2565 |  18.59 |   98.49 |       |
PTFM  | Potchefstroom, South Africa     |  6.98 | 1351 | -26.68 |   27.09 |       | 1971-
PWNK  | Peawanuck, Canada               |  0.30 |   53 |  54.98 |  -85.44 |       |
ROME  | Rome, Italy                     |  6.27 |    0 |  41.86 |   12.47 |       |
SANB  | Sanae D, Antarctica             |  0.73 |   52 | -71.67 |   -2.85 |       | 1964-
SNAE  | Sanae IV, Antarctica            |  0.73 |  856 | -71.67 |   -2.85 |       |
SOPB  | South Pole, bare                |  0.10 | 2820 | -90.00 |    0.00 |       |
SOPO  | South Pole                      |  0.10 | 2820 | -90.00 |    0.00 |       |
TERA  | Terre Adelie, Antarctica        |  0.01 |   32 | -66.65 |  140.00 |       |
THUL  | Thule, Greenland                |  0.30 |   26 |  76.50 |  -68.70 |       | 1957-
TSMB  | Tsumeb, Namibia                 |  9.15 | 1240 | -19.20 |   17.58 |       | 1976-
TXBY  | Tixie Bay, Russia               |  0.48 |    0 |  71.36 |  128.54 |       |
UFSZ  | Schneefernerhaus, Germany       |  4.10 | 2650 |  47.42 |   10.98 |       |
YKTK  | Yakutsk, Russia                 |  1.65 |  105 |  62.01 |  129.43 |       |
ZUGS  | Zugspitze, Germany              |  4.24 | 2960 |  47.42 |   10.98 |       |
"""


@dataclass(frozen=True, slots=True)
class NeutronMonitor:
    """A neutron monitor: place, cutoff rigidity and mass of the air above it."""

    name: str  # short name at NMDB
    place: str
    cutoff_gv: float  # vertical
    altitude_m: float
    depth_g_cm2: float
    latitude_deg: float = math.nan
    longitude_deg: float = math.nan
    count: float = math.nan  # median of 2010-2019 [s-1]
    years: str = ""  # of operation; empty: not known here


def list_monitors() -> tuple[NeutronMonitor, ...]:
    """List the monitors that NMDB serves, by name.

    Returns
    -------
    tuple of NeutronMonitor
        Cutoff rigidity [GV], altitude [m], depth of the air [g cm-2], position [degree].

    References
    ----------
    NMDB, NEST help, list of stations; Jungfraujoch's depth: McJannet & Desilets (2023).
    """
    return tuple(_read(line) for line in _TABLE.strip().splitlines())


def find_monitor(
    name: str, cutoff_gv: float | None = None, altitude_m: float | None = None
) -> NeutronMonitor | None:
    """Find a monitor by its short name; given values take the place of the list's.

    Parameters
    ----------
    cutoff_gv, altitude_m : [GV], [m]
        Of a monitor that is not in the list, both.

    Returns
    -------
    NeutronMonitor or None
        None: not in the list, and not described.
    """
    listed = {monitor.name: monitor for monitor in list_monitors()}.get(name)
    if listed is None:
        if cutoff_gv is None or altitude_m is None:
            return None
        depth = float(atmospheric_depth(45.0, altitude_m))  # poles and equator: 0.3 % more or less
        return NeutronMonitor(name, name, cutoff_gv, altitude_m, depth)
    if cutoff_gv is not None:
        listed = replace(listed, cutoff_gv=cutoff_gv)
    if altitude_m is not None:
        depth = float(atmospheric_depth(listed.latitude_deg, altitude_m))
        listed = replace(listed, altitude_m=altitude_m, depth_g_cm2=depth)
    return listed


def incoming_scale(
    form: IncomingForm,
    latitude_deg: ArrayLike,
    altitude_m: ArrayLike,
    cutoff_rigidity_gv: ArrayLike,
    monitor: NeutronMonitor,
) -> NDArray[np.float64]:
    """Compute the scale of f_i: the response of a site relative to that of a monitor.

    Parameters
    ----------
    form :
        "hawdon2014" or "mcjannet2023"; of the other forms the scale is 1.
    latitude_deg, altitude_m : (...) [degree], [m]
        Of the site.
    cutoff_rigidity_gv : (...) [GV]
        Vertical cutoff rigidity of the site.

    Returns
    -------
    (...) [-]

    References
    ----------
    Hawdon et al. (2014); McJannet & Desilets (2023): `hawdon_scale`, `mcjannet_scale`.
    """
    if form == "hawdon2014":
        return hawdon_scale(cutoff_rigidity_gv, monitor.cutoff_gv)
    depth = atmospheric_depth(latitude_deg, altitude_m)
    if form == "mcjannet2023":
        return mcjannet_scale(cutoff_rigidity_gv, depth, monitor.cutoff_gv, monitor.depth_g_cm2)
    return np.ones_like(depth)


def distance_km(
    latitude_deg: ArrayLike, longitude_deg: ArrayLike, monitor: NeutronMonitor
) -> NDArray[np.float64]:
    """Compute the distance (...) [km] of places (...) [degree] from a monitor, along the ground.

    References
    ----------
    Haversine formula, Sinnott (1984), Sky & Telescope 68, 158; mean radius 6371 km.
    """
    north, east = np.radians(latitude_deg), np.radians(longitude_deg)
    there = math.radians(monitor.latitude_deg)
    half = 0.5 * (east - math.radians(monitor.longitude_deg))
    square = (
        np.sin(0.5 * (north - there)) ** 2 + np.cos(north) * math.cos(there) * np.sin(half) ** 2
    )
    return np.asarray(2.0 * 6371.0 * np.arcsin(np.sqrt(np.minimum(square, 1.0))))


def _read(line: str) -> NeutronMonitor:
    """Read a row of the table."""
    name, place, *numbers, count, years = (cell.strip() for cell in line.split("|"))
    cutoff, altitude, latitude, longitude = map(float, numbers)
    depth = float(atmospheric_depth(latitude, altitude))
    return NeutronMonitor(
        name=name,
        place=place,
        cutoff_gv=cutoff,
        altitude_m=altitude,
        depth_g_cm2=JUNG_DEPTH_G_CM2 if name == USUAL_MONITOR else depth,
        latitude_deg=latitude,
        longitude_deg=longitude,
        count=float(count or "nan"),
        years=years,
    )
