"""Encode what a station publishes: JSON payloads, each addressed to a topic.

In: records, estimates, configuration, events. Out: `Message`s that meet the schemas in docs/mqtt.
Open `topics` first, the table of all topics; then `observation` (a record) and `station` (status,
events, meta).
"""
