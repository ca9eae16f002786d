"""Generate daily weather, and fit the generator to a station.

In: a file of a weather service, or a sample from a prior. Out: a climate as TOML; daily rain,
temperature, ET0, air pressure and humidity, incoming neutrons, snow.
Open `generator` first, then `fit` and `station_series`.
"""
