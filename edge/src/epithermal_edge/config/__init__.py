"""Read station.toml: every key with type and range, every fault reported at once.

In: the TOML file of a station. Out: frozen dataclasses (`Config`) with derived values filled in.
Each table of keys is data; docs/configuration.md is generated from it.
Open `schema` first (the keys), then `station_toml` (what they become).
"""
