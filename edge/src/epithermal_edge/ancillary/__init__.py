"""Add weather and incoming neutron intensity to the logger's records.

In: MQTT messages of weather sensors; counts of a neutron monitor by MQTT, from a file or from NMDB.
Out: the same `RawRecord` with the values of its interval, NaN where unknown.
Open `merge` first; `gauge` has the rules for sensors, `neutron_monitor` those for counts.
"""
