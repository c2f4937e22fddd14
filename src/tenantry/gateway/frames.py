"""Cuts a stream of server-sent events into whole events, without changing a byte of them."""

from tenantry.core.errors import ProviderMalformed

_LARGEST_EVENT = 4 * 1024 * 1024


class Frames:
    """Collects bytes and gives back whole events, each with the blank line that ends it."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that `chunk` completes.

        Raises:
            ProviderMalformed: an event is larger than 4 MiB.
        """
        self._pending += chunk
        events = []
        while (end := self._end()) != -1:
            events.append(bytes(self._pending[:end]))
            del self._pending[:end]
        if len(self._pending) > _LARGEST_EVENT:
            raise ProviderMalformed("The model provider sent an event that is too large.")
        return events

    def rest(self) -> bytes:
        """What is left of an event that never ended."""
        left = bytes(self._pending)
        self._pending.clear()
        return left

    def _end(self) -> int:
        ends = [
            at + len(mark)
            for mark in (b"\n\n", b"\r\n\r\n", b"\r\r")
            if (at := self._pending.find(mark)) != -1
        ]
        return min(ends, default=-1)
