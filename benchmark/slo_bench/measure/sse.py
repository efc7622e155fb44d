"""Parses server-sent events from bytes as they arrive. It gives the data of each event. Pure.

The grammar is the HTML standard's (9.2.6). A line ends at CR LF, LF or CR. A blank line dispatches the event. The
`data` lines of an event are joined by LF. Comments (`:` first), `event`, `id`, `retry` and unknown fields are ignored.
One byte order mark may come first. An event without a blank line at its end is dropped.

A line that ends in CR is complete at once, and an LF that follows belongs to it. If the parser waited for the next
byte, the event would get a late time. No byte is searched twice, so the cost of a line does not depend on the number of
its pieces.
"""

from __future__ import annotations

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventParser:
    """One stream's parser."""

    def __init__(self) -> None:
        self._line: list[bytes] = []  # pieces of the line that has not ended
        self._data: list[bytes] = []  # data lines of the event that has not ended
        self._after_cr = False
        self._at_start = True

    def feed(self, piece: bytes) -> list[str]:
        """Takes the next bytes and returns the data of every event that they complete."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
            self._after_cr = False
        if not piece:
            return []
        self._after_cr = piece.endswith(b"\r")
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        elif b"\n" not in piece:
            self._line.append(piece)
            return []
        *lines, rest = piece.split(b"\n")
        if lines and self._line:
            lines[0] = b"".join((*self._line, lines[0]))
            self._line.clear()
        if rest:
            self._line.append(rest)
        return [event for line in lines if (event := self._read(line)) is not None]

    def _read(self, line: bytes) -> str | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        return None

    def _dispatch(self) -> str | None:
        if not self._data:
            return None
        data = b"\n".join(self._data)
        self._data.clear()
        return data.decode("utf-8", errors="replace")
