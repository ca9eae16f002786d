"""Receive what other instruments measure: weather over MQTT, counts of a neutron monitor.

In: messages of weather topics (a second MQTT connection), a file or NMDB's answers over HTTPS. Out:
raw records with rain, ET0, air and incoming intensity filled in, or flagged as unknown.
Open `merge` first; then `subscriber` (weather) and `poller` (neutron monitor).
"""
