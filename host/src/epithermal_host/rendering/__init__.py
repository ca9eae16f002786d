"""Draw plots and format text in one style for all reports.

In: figures, tables, values. Out: content of a PNG, parts of a self-contained HTML page, Markdown,
and values that JSON can represent.
Open `plots` first.
"""
