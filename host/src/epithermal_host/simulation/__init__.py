"""Simulate places, their weather and soil water, and what a detector records there.

In: a population and a seed. Out: a file for each scenario with true water content, neutron rate and
weather; hourly records as a logger would have written them.
Open `scenario` first, then `simulate` (one place), `campaign` (many) and `detector` (its records).
"""
