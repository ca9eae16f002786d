"""Bytes from a port or file to lines, whatever the noise in them."""

from __future__ import annotations

import re

from epithermal_edge.loggers.dialects import LINE_BYTES

OVERLONG = b"\0"
"""Stands among the lines for one that was too long; `parser.parse` raises on it."""

# As buffers; neither byte can be in an unfinished line.
_DROPPING = b"\0"  # inside an over-long line: drop all up to its end
_AFTER_CR = b"\r"  # the last line ended with CR, the LF of it may follow

_LINE_END = re.compile(rb"\r\n|\r|\n")


def split(buffer: bytes, chunk: bytes, limit: int = LINE_BYTES) -> tuple[bytes, list[bytes]]:
    """Cut what a port or file gave into lines.

    Parameters
    ----------
    buffer :
        As the call before returned it; b"" at first. It is all the state there is and never holds
        more than `limit` bytes.
    chunk :
        The next bytes, any number. NULs before a line are dropped; one inside stands for a byte
        that was lost on the wire, and `parser.parse` raises on it.
    limit : [bytes]
        The longest line; `Dialect.line_bytes`.

    Returns
    -------
    buffer, list of lines
        Lines without their end, which is LF, CR LF or CR. A line that is too long gives `OVERLONG`
        once and nothing else.
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
