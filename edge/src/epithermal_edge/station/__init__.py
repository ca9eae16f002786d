"""Run the station: read the port, estimate, store, publish, and report how it is.

In: a `Config`. Out: a daemon with a reader thread, one loop that owns engine and journal, a sender;
health.json for `status` and the page, and notifications to systemd.
Open `daemon` first; then `reader`, `intake` (records into the journal) and `stamps` (time).
"""
