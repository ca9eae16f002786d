"""Serve the station's web page: read-only, from the journal and health.json on disk.

In: HTTP requests of browsers on the spot. Out: page.html with its script and style, the present
values and 30 days of history as JSON, and an event for each new record.
Open `server` first, then `data`.
"""
