"""Answer one question each from simulations: why memory is needed, what one site teaches.

In: a small TOML file or a finished campaign. Out: pictures and their data as files; `demo` runs the
whole chain once, with a broker and a station.
Open `figures` or `single_site` first.
"""
