"""Passes a stream of server-sent events on without changing a byte, holding its last event back."""

import re

from tenantry.core.errors import ProviderMalformed

_LARGEST_EVENT = 4 * 1024 * 1024
_BLANK_LINES = (b"\n\n", b"\r\n\r\n", b"\r\r")
_BLANK_LINE = re.compile(b"|".join(_BLANK_LINES))


class Frames:
    """Lets everything through but the last whole event and what follows it.

    What is let go ends with a whole event, so that a client is never left inside one.
    """

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """What may go out now that `chunk` is here; whole events, or nothing.

        Raises:
            ProviderMalformed: an event is larger than 4 MiB.
        """
        self._pending += chunk
        last = _last_end(self._pending, len(self._pending))
        before = _last_end(self._pending, last - 1)
        if len(self._pending) - max(last, 0) > _LARGEST_EVENT:
            raise ProviderMalformed("The model provider sent an event that is too large.")
        if before <= 0:
            return b""
        ready = bytes(self._pending[:before])
        del self._pending[:before]
        return ready

    def rest(self) -> bytes:
        """The last event, and whatever came after it; to be sent once the call is settled."""
        left = bytes(self._pending)
        self._pending.clear()
        return left


def events_in(data: bytes) -> list[bytes]:
    """The events in `data`, each with the blank line that ends it; the last may lack it."""
    ends = [found.end() for found in _BLANK_LINE.finditer(data)]
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def _last_end(data: bytearray, until: int) -> int:
    """Where the last event that ends before `until` ends; -1 when none does."""
    ends = [
        at + len(mark)
        for mark in _BLANK_LINES
        if until > 0 and (at := data.rfind(mark, 0, until)) != -1
    ]
    return max(ends, default=-1)
