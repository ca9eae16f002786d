"""Ask NMDB for the counts of a neutron monitor."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlencode

from epithermal_edge.errors import SourceError
from epithermal_edge.loggers.monitor_text import read_monitor
from epithermal_edge.times import instant

NMDB_URL = "https://www.nmdb.eu/nest/draw_graph.php"
ANSWER_BYTES = 1 << 20  # NEST answers 3 days of hours with 3 kB, a year with 250 kB
TIMEOUT_S = 30.0


def fetch(address: str, ca_file: Path | None, timeout_s: float = TIMEOUT_S) -> str:
    """Return the text that a web server answers; verify its certificate.

    Raises
    ------
    SourceError
        No answer in time, a status other than 200, or an answer that is too long.
    """
    import ssl  # imported here: a station without NMDB saves time and memory
    from http.client import HTTPException
    from urllib.error import URLError
    from urllib.request import HTTPSHandler, Request, build_opener

    request = Request(address, headers={"User-Agent": "epithermal-edge", "Accept": "text/plain"})
    where = address.partition("?")[0]
    until = time.monotonic() + 2.0 * timeout_s
    body = bytearray()
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        opener = build_opener(HTTPSHandler(context=context))
        with opener.open(request, timeout=timeout_s) as answer:
            if not answer.url.startswith("https://"):
                raise SourceError(f"{where}: redirects to {answer.url[:80]}, which is not https")
            while chunk := answer.read1(1 << 16):
                body += chunk
                if len(body) > ANSWER_BYTES:
                    raise SourceError(f"{where}: the answer has more than {ANSWER_BYTES} bytes")
                if time.monotonic() > until:
                    raise SourceError(f"{where}: the answer did not end within {2 * timeout_s:g} s")
    except (URLError, HTTPException, OSError, ValueError) as fault:  # ValueError: a wrong redirect
        raise SourceError(f"{where}: {fault}; check network and incoming.url") from fault
    return body.decode("utf-8", "replace")


def nmdb_query(url: str, monitor: str, start_s: float, end_s: float) -> str:
    """Return the URL of a monitor's hourly counts, efficiency and pressure corrected, as text.

    Parameters
    ----------
    url :
        URL of NEST's draw_graph.php.
    start_s, end_s : [s]
        Unix time; NEST uses whole minutes.

    Raises
    ------
    SourceError
        The station's clock is so wrong that a time has no date.

    References
    ----------
    NMDB, NEST help (www.nmdb.eu/nest/help.php#howto): `wget=1` asks for text, `revori` for revised
    data where there are any, `force=1` for means where the resolution is coarser than the data's.
    """
    keys: dict[str, str | int] = {
        "wget": 1,
        "stations[]": monitor,
        "tabchoice": "revori",
        "dtype": "corr_for_efficiency",
        "tresolution": 60,
        "force": 1,
        "yunits": 0,
        "date_choice": "bydate",
    }
    for name, time_s in (("start", start_s), ("end", end_s)):
        moment = instant(time_s)
        if moment is None:
            raise SourceError(f"the station's clock is wrong: {time_s:g} s has no date")
        keys |= {
            f"{name}_day": moment.day,
            f"{name}_month": moment.month,
            f"{name}_year": moment.year,
            f"{name}_hour": moment.hour,
            f"{name}_min": moment.minute,
        }
    return f"{url}?{urlencode({**keys, 'output': 'ascii'}, safe='[]')}"


def read_nmdb(text: str, monitor: str) -> list[tuple[float, float]]:
    """Return Unix time [s] of each hour's start and its count [s-1] from NEST's answer.

    Raises
    ------
    SourceError
        The answer has no counts, or those of another monitor.
    """
    rows = read_monitor(text, monitor).rows
    if not rows:
        sorry = "no data for this time" if "orry" in text[:2000] else "not the text that NEST gives"
        raise SourceError(f"NMDB has no counts of {monitor}: {sorry}")
    return rows
