"""Read the data of real sites and calibrate their detectors.

In: site.toml and the files it names: counts, probes, soil samples, rain. Out: a site's daily series
from the station's own pipeline; N of COSMIC, of the other methods and of a network; the tables for
station.toml.
Open `series` first, then `calibrate`.
"""
