"""Read run.toml, the one file that describes a run.

In: TOML. Out: frozen dataclasses, one for each section, or one ConfigError that lists every fault.
Open `run_toml` first; `population` has the distributions of the scenarios.
"""
