"""Split the bytes of a port or file into lines, in the presence of noise."""

from __future__ import annotations

import re

from epithermal_edge.loggers.dialects import LINE_BYTES

OVERLONG = b"\0"
"""Replaces a line that was too long; `parser.parse` raises on it."""

# Special buffers; neither byte can occur in an unfinished line.
_DROPPING = b"\0"  # inside an over-long line: drop everything up to its end
_AFTER_CR = b"\r"  # the last line ended with CR; its LF may follow

_LINE_END = re.compile(rb"\r\n|\r|\n")


def split(buffer: bytes, chunk: bytes, limit: int = LINE_BYTES) -> tuple[bytes, list[bytes]]:
    """Split the bytes of a port or file into lines.

    Parameters
    ----------
    buffer :
        From the previous call; b"" at first. It is the only state and never has more than `limit`
        bytes.
    chunk :
        The next bytes, any number. NULs before a line are dropped; a NUL inside a line means that
        a byte was lost on the wire, and `parser.parse` raises on it.
    limit : [bytes]
        Length of the longest valid line: `Dialect.line_bytes`.

    Returns
    -------
    buffer, list of lines
        Lines without their end, which is LF, CR LF or CR. A line that is too long is replaced by
        `OVERLONG`.
    """
    if not chunk:
        return buffer, []
    if buffer == _AFTER_CR:
        buffer, chunk = b"", chunk.removeprefix(b"\n")
    dropping = buffer == _DROPPING
    *ended, rest = _LINE_END.split(chunk if dropping else buffer + chunk)
    if dropping:
        if not ended:
            return _DROPPING, []
        ended = ended[1:]
    lines = [line if len(line) <= limit else OVERLONG for line in map(_bare, ended)]
    rest = _bare(rest)
    if len(rest) > limit:
        return _DROPPING, [*lines, OVERLONG]
    return (_AFTER_CR if chunk.endswith(b"\r") else rest), lines


def _bare(line: bytes) -> bytes:
    return line.lstrip(b"\0")
