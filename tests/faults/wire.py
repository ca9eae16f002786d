"""Generate lines of every logger and damage them as a bad wire does."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from epithermal_edge.loggers import parser
from epithermal_edge.loggers.parser import Context
from epithermal_edge.loggers.records_csv import seal

T0 = 1_774_440_000.0
HOUR = 3600.0

# header, one record's line: t time, n count, p pressure, c temperature, h humidity, s counting time
LOGGERS = {
    "hydroinnova": (
        "//RecordNum,Date Time(UTC),P1_mb,P4_mb,T1_C,T4_C,T_CS215,RH1,RH_CS215,Vbat,N1Cts,N2Cts,"
        "N1ET_sec,N2ET_sec,N1T_C,N1RH,D1,",
        "{k:5d}, {t:%Y/%m/%d %H:%M:%S}, {p:6.1f},{p:7.2f},    0.0, 254.6,{c:6.1f}, 83.9,{h:5.1f},"
        " 13.074,{n:9d},      160,{s:8d},{s:8d},   2.1, 68.7,        0",
    ),
    "quaesta_json": (
        "",
        '{{"RecordNum":{k},"DateTimeUTC":"{t:%Y/%m/%d %H:%M:%S}","P1_mb":984.58,"P4_mb":{p:.2f},'
        '"T_CS215":{c:.1f},"RH_CS215":{h:.1f},"Vbat":14.05,"N1Cts":{n},"N1ET_sec":{s}}}',
    ),
    "portal": (
        "Site ID,CrnsID,Message Date,FI,Jung,DOM,Hour,Min,BV,P1 (mb),P4 (mb),T7 C,H7 %,Rain Tips,"
        "E1,N1/Samp,N2/Samp,N3/Samp",
        "273,10280725,{t:%Y-%m-%d %H:%M:%S} UTC,1.124,146.761,1,0,0,13.1,788.3,{p:.1f},{c:.1f},"
        "{h:.1f},0,{s},{n},1974,0",
    ),
    "quaesta_web": (
        "UTC, N1 [cph], N2 [cph], P1 [mb], Batt [V], H7 [%], P4 [mb], T7 [C], NMcounts, fbar, "
        "fhum, fsol, CR VWC, B/M,",
        "{t:%Y-%m-%d %H:%M:%S}, {n}, 14, 0.0, 14.1, {h:.1f}, {p:.1f}, {c:.1f}, 165.490, 1.049,"
        " 1.000, 0.961, -0.527, 0.5833, {t:%Y-%m-%d %H:%M:%S}",
    ),
    "toa5": (
        '"TIMESTAMP","RECORD","station","counts_1_Tot","counts_2_Tot","precipitation_Tot",'
        '"air_temperature_Avg","barometric_pressure_Avg","relative_humidity_Avg","NDVI_Avg"',
        '"{t:%Y-%m-%d %H:%M:%S}",{k},"KS003",{n},870,0,{c:.1f},{p:.0f},{h:.2f},0.308',
    ),
    "finapp": (
        "Datetime,neutrons,muons,gamma,integration_time(s),V_in(Volt),temperature_in(C),"
        "temperature_ext(C),ur(%),pressure(hPa)",
        "{t:%Y-%m-%d %H:%M:%S},{n},7805,,{s},11.4,10.7,{c:.1f},{h:.1f},{p:.1f}",
    ),
    "cosmos_europe": (
        "DateTime_utc,NeutronCount_Epithermal_Cum1h,NeutronCount_Slow_Cum1h,AirTemperature,"
        "AirHumidity_Relative,AirPressure,Precipitation",
        "{t:%Y-%m-%d %H:%M:%S}+00:00,{n}.0,431.0,{c:.1f},{h:.1f},{p:.1f},0.0",
    ),
    "cosmos": (
        "YYYY-MM-DD HH:MM MODE UNMO PRESS TEM RH BATT",
        "{t:%Y-%m-%d %H:%M} {n} 541 {p:.1f} 33 14 12.7",
    ),
    "cosmoz": (
        "UTC_TIMESTAMP,COUNT,PRESSURE_mb,PRESSURE2_mb,EXTERNAL_TEMPERATURE_oC,EXTERNAL_RH_%",
        "{t:%Y-%m-%dT%H:%M:%S}Z,{n},976.0,{p:.1f},{c:.1f},{h:.1f}",
    ),
    "rdt": (
        "",
        "{t.month}/{t.day}/{t.year} {t.hour}:{t:%M},{p:.1f},{h:.0f},{c:.1f},-7.4,14.4,{n},716,742",
    ),
    "styx": (
        "",
        "40500\t1658981362\t12.69\t21.66\t95374.76\t28.83\t{c:.2f}\t{p:.2f}\t{h:.2f}\t16149.00\t"
        "2.84\t2.55\t23.13\t14632.00\t4.84\t7.60\t25.97\t13820.00\t6.55\t11.60\t26.83\t{r:.4f}\t"
        "{t:%m/%d/%Y}\t{t:%H:%M:%S}\t",
    ),
    "records": (
        parser.RECORDS_HEADER.decode().strip(),
        "{t:%Y-%m-%dT%H:%M:%S}Z,{s},{n},{p:.1f},{c:.1f},{h:.1f},0,,150.2,12.6,40,",
    ),
}


def header(dialect: str) -> bytes:
    """Return the logger's first line; empty if it has none."""
    return LOGGERS[dialect][0].encode()


def ready(dialect: str) -> Context:
    """Return the parser's context after the header."""
    first = header(dialect)
    context = parser.start(dialect)
    return parser.parse(context, first)[0] if first else context


def row(dialect: str, k: int, rng: random.Random) -> bytes:
    """Return the line of hour k."""
    counts = rng.randint(300, 3000)
    line = LOGGERS[dialect][1].format(
        k=k,
        t=datetime.fromtimestamp(T0 + HOUR * (k % 8760), UTC),
        n=counts,
        r=counts / HOUR,
        p=rng.uniform(930.0, 1040.0),
        c=rng.uniform(-15.0, 35.0),
        h=rng.uniform(20.0, 100.0),
        s=rng.randint(3598, 3602),
    )
    return (seal(line) if dialect == "records" else line).encode()


def bit_flips(line: bytes, _: bytes, rng: random.Random) -> bytes:
    """Flip one to three bits, as on a long cable."""
    bad = bytearray(line)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
    return bytes(bad)


def dropped(line: bytes, _: bytes, rng: random.Random) -> bytes:
    """Remove a run of characters, as after a buffer overrun."""
    i = rng.randrange(len(line))
    return line[:i] + line[i + rng.choice((1, 1, 2, 4, 8, 16)) :]


def merged(line: bytes, other: bytes, rng: random.Random) -> bytes:
    """Merge two lines: the end of one and the beginning of the next are lost."""
    return line[: rng.randint(len(line) // 2, len(line))] + other[rng.randrange(len(other)) :]


def cut(line: bytes, _: bytes, rng: random.Random) -> bytes:
    """Return the beginning or the end of a line."""
    i = rng.randrange(1, len(line))
    return line[:i] if rng.random() < 0.5 else line[i:]


def nuls(line: bytes, _: bytes, rng: random.Random) -> bytes:
    """Replace characters by NUL, as a driver does with unreadable ones."""
    bad = bytearray(line)
    i = rng.randrange(len(bad))
    for k in range(i, min(i + rng.choice((1, 1, 2, 5)), len(bad))):
        bad[k] = 0
    return bytes(bad)


def burst(line: bytes, _: bytes, rng: random.Random) -> bytes:
    """Replace part of the line by noise, as from a motor or a wrong baud rate."""
    i, n = rng.randrange(len(line)), rng.choice((2, 4, 8, 16))
    return line[:i] + rng.randbytes(len(line[i : i + n])) + line[i + n :]


DAMAGES = {
    "bit flips": bit_flips,
    "dropped": dropped,
    "merged": merged,
    "cut": cut,
    "NULs": nuls,
    "burst": burst,
}
