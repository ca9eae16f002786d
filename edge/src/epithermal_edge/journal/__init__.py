"""Store records, estimates, state and outgoing messages on disk, each record in one transaction.

In: what the engine computed for a record, and its messages. Out: the same after a power cut, in
order, for the sender, `tail`, `export` and `replay`; a damaged file is replaced, a full one pruned.
Open `journal` first, then `rows` (tables, checksums) and `recovery`.
"""
