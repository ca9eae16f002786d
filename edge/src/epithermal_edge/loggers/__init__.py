"""Parse what a detector's data logger writes into raw records.

In: bytes of a serial port or a recorded file, in one of the dialects. Out: a `RawRecord` for each
sound line, a `FrameError` for each damaged one.
Open `parser` first; a new logger is a row in `dialects`.
"""
