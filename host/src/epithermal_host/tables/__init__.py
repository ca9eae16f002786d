"""Read tables that people and services export: samples, probes, rain, weather.

In: a file and the description of how it is written (delimiter, decimal mark, header, times).
Out: columns of numbers in time order; missing where a cell is empty or a code; impossible values
are refused with file, line, column, cell and the likely remedy.
Open `table` first; `description` has what a user can declare, `quantities` the limits.
"""
