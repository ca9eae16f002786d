"""Run the command `epithermal-edge`: one subcommand for each task of an operator.

In: arguments, station.toml, recorded files or the journal. Out: text or CSV on stdout, and an exit
code. A subcommand imports what it needs when it runs, so that the program starts without numpy.
Open `main` first, then `arguments`.
"""
