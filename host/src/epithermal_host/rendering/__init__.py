"""Draw and write in one style for all reports.

In: figures, tables, values. Out: bytes of a PNG, parts of an HTML page that needs nothing but
itself, Markdown, and values that JSON can hold.
Open `plots` first.
"""
