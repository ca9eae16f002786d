"""Run the station: read the logger, stamp, estimate, store and publish each record.

In: station.toml, the logger's port, the model bundle, the journal of earlier runs. Out: records and
estimates in the journal, messages to the broker, health.json and systemd notifications.
Open `daemon` first, then `intake` (records through engine and journal) and `stamps` (their times).
"""
