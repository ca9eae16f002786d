"""Read real sites, and calibrate their detectors.

In: site.toml and the files it names: counts, probes, soil samples, rain. Out: a site's daily series
through the station's own pipeline; N of COSMIC, of the other methods and of a network; the block of
TOML for its station.
Open `series` first, then `calibrate`.
"""
