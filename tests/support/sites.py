"""Return texts of sites: [site] of a station.toml, a whole site.toml, and tables to add."""

from __future__ import annotations

SITE = """
latitude_deg = 51.0
altitude_m = 70.0
cutoff_rigidity_gv = 3.0
bulk_density_g_cm3 = 1.4
cosmic_n_cph = 430.0
"""
WATERED = f"""{SITE}[site.water]
field_capacity = 0.31
wilting_point = 0.12
crop = "maize"
"""
SOIL = """
[site.soil]
known = "texture"
theta_r = 0.065
theta_s = 0.41
alpha_per_cm = 0.075
n = 1.89
ks_cm_d = 106.1
"""

THETA_SAMPLING = """
[sampling]
file = "samples.csv"
time = "day"
value = "theta"
kind = "theta"
"""


def made_up_site(*tables: str, site: str = "", soil: str = "") -> str:
    """Return site.toml of a site with counts.csv beside it.

    Parameters
    ----------
    tables :
        More tables, such as [sampling].
    site, soil :
        More keys of [site] and [soil], a line each.
    """
    return f"""
[site]
name = "made-up"
latitude_deg = 50.0
longitude_deg = 0.0
altitude_m = 0
cutoff_rigidity_gv = 3.0
{site}
[soil]
bulk_density_g_cm3 = 1.3
lattice_water_g_g = 0.03
{soil}
[records]
files = ["counts.csv"]
dialect = "records"
""" + "".join(tables)


def probe(file: str, time: str, *columns: str, depth_cm: float = 15.0, weight: float = 1.0) -> str:
    """Return a [[probe]] of one depth."""
    return f"""
[[probe]]
file = "{file}"
time = "{time}"
columns = [{", ".join(f'"{name}"' for name in columns)}]
depth_cm = {depth_cm}
weight = {weight}
"""


def rain(file: str, *columns: str) -> str:
    """Return [rain] of whole days, named by their date."""
    return f"""
[rain]
file = "{file}"
time = "day"
columns = [{", ".join(f'"{name}"' for name in columns)}]
end_h = 24
"""
