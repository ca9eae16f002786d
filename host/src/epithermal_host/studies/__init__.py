"""Run simulation studies: why memory is needed, and what a network learns at one site.

In: a small TOML file or a finished campaign. Out: pictures and their data as files; `demo` runs the
whole chain once, with a broker and a station.
Open `figures` or `single_site` first.
"""
