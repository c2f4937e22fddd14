"""Server-sent events: bytes in any pieces in, whole events out.

Source: WHATWG HTML, section 9.2.6 (interpreting an event stream). Two leniencies, because servers
need them: an event that the stream's end cuts short of its blank line still counts, and the
`id` and `retry` fields are ignored.
"""

import re
from dataclasses import dataclass

from tenantry.core.errors import ProviderMalformed

MOST_EVENT_BYTES = 1 << 20
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event: its name (`message` unless the stream says otherwise) and its data, as bytes."""

    name: str
    data: bytes


class SseParser:
    """Takes a stream apart into events, however it is cut into pieces.

    No line is scanned twice, so that a stream sent byte by byte costs no more than one sent whole.
    """

    def __init__(self, most_event_bytes: int = MOST_EVENT_BYTES) -> None:
        self._most = most_event_bytes
        self._partial = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._name = ""
        self._after_return = False
        self._at_start = True

    def feed(self, piece: bytes) -> list[SseEvent]:
        """The events that `piece` completes.

        Raises:
            ProviderMalformed: an event is larger than the limit.
        """
        if self._after_return and piece.startswith(b"\n"):
            piece = piece[1:]  # the second half of a CRLF that was cut in two
            self._after_return = False
        if not piece:
            return []
        self._after_return = piece.endswith(b"\r")
        *whole, rest = _LINE_END.split(piece)
        events = [event for line in whole if (event := self._end_line(line)) is not None]
        self._partial += rest
        self._refuse_oversize()
        return events

    def close(self) -> list[SseEvent]:
        """The event that the end of the stream completes, if one was under way."""
        last = [self._end_line(b""), self._end_line(b"")]
        return [event for event in last if event is not None]

    def _end_line(self, tail: bytes) -> SseEvent | None:
        self._partial += tail
        line = bytes(self._partial)
        self._partial.clear()
        if self._at_start:
            line, self._at_start = line.removeprefix(_BYTE_ORDER_MARK), False
        if line:
            self._take_field(line)
            return None
        return self._dispatch()

    def _take_field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            self._refuse_oversize()
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")

    def _dispatch(self) -> SseEvent | None:
        event = SseEvent(self._name or "message", b"\n".join(self._data)) if self._data else None
        self._data.clear()
        self._size, self._name = 0, ""
        return event

    def _refuse_oversize(self) -> None:
        if self._size + len(self._partial) > self._most:
            raise ProviderMalformed("The model provider sent an event that is too large.")
