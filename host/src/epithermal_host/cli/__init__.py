"""Parse the command line of epithermal-host and print results.

In: arguments. Out: lines of text and an exit status. The other folders do the work; they are
imported when their command runs.
Open `main` first.
"""
