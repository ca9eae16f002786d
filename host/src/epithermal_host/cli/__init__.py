"""Read the command line of epithermal-host and print what people read.

In: arguments. Out: lines of text and an exit status; the work is done by the folders below, which
are imported when their command runs.
Open `main` first.
"""
