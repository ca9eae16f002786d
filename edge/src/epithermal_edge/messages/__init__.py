"""Build the MQTT messages of a station.

In: records, estimates, the configuration and the state of the station. Out: `Message`: topic, JSON
payload and delivery, as docs/mqtt.md and its schemas describe them.
Open `topics` first (one row per topic), then `observation` (payloads of records).
"""
