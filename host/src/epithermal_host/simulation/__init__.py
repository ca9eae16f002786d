"""Simulate places, their weather and soil water, and the records of detectors there.

In: a population and a seed. Out: a file for each scenario with true water content, neutron rate and
weather; hourly records like those of a logger.
Open `scenario` first, then `simulate` (one place), `campaign` (many) and `detector` (its records).
"""
