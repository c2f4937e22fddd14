"""Packets of the MySQL client protocol, read without trusting who sends them (CON-2).

Threat: a tenant's server is the tenant's own program. It may send lengths that lie, packets
without end, rows nobody asked for, or a request for one of our files, to read or exhaust the memory
of a process that serves other tenants.
Invariant: nothing is read past the end of a packet, no packet is larger than its cap, and bytes
that are not read stay at the sender (ADR-0011).

Source: MySQL 8.4 internals manual, "Client/Server Protocol"; MariaDB, "Client/Server Protocol".
"""

import asyncio
from dataclasses import dataclass

from tenantry.core.errors import SourceUnreachable

LARGEST_PACKET = 8 * 1024 * 1024


class Malformed(SourceUnreachable):
    """The server does not speak the MySQL protocol."""


class TooWide(SourceUnreachable):
    """A row of the result is larger than 8 MB; select fewer or shorter columns."""


class ServerRefused(Exception):
    """An error that the server reported: its number, SQLSTATE and text."""

    def __init__(self, code: int, state: str, text: str) -> None:
        super().__init__(code, state, text)
        self.code = code
        self.state = state
        self.text = text


class Fields:
    """Reads the fields of one packet in order, never past its end."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes.

        Raises:
            Malformed: there are fewer.
        """
        end = self._at + size
        if end > len(self._payload):
            raise Malformed
        found = self._payload[self._at : end]
        self._at = end
        return found

    def number(self, size: int) -> int:
        """An unsigned integer of `size` bytes, least significant first."""
        return int.from_bytes(self.take(size), "little")

    def length(self) -> int | None:
        """A length-encoded integer; None stands for NULL."""
        first = self.number(1)
        if first < 0xFB:
            return first
        if first == 0xFB:
            return None
        size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first)
        if size is None:
            raise Malformed
        return self.number(size)

    def text(self) -> bytes | None:
        """A length-encoded text; None stands for NULL."""
        size = self.length()
        return None if size is None else self.take(size)

    def until_nul(self) -> bytes:
        """Bytes up to the next zero byte, which is skipped; all that is left where there is none.

        The last text of a packet lacks its zero byte in some versions of the server.
        """
        end = self._payload.find(b"\0", self._at)
        if end < 0:
            return self.rest()
        found = self.take(end - self._at)
        self._at += 1
        return found

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._payload) - self._at)

    @property
    def is_done(self) -> bool:
        """True when nothing is left."""
        return self._at == len(self._payload)


@dataclass(slots=True)
class Wire:
    """One connection's packets; numbered, so that an answer to something else is noticed.

    Attributes:
        sequence: number of the next packet, in either direction.
        beneath: the writer that TLS was put over; a forgotten one closes its socket.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sequence: int = 0
    beneath: asyncio.StreamWriter | None = None

    async def read(self) -> bytes:
        """The next packet's payload.

        Raises:
            Malformed: it is out of order.
            TooWide: it is larger than the cap.
            SourceUnreachable: the connection ended.
        """
        try:
            header = await self.reader.readexactly(4)
            size = int.from_bytes(header[:3], "little")
            if header[3] != self.sequence:
                raise Malformed
            if size > LARGEST_PACKET:  # also the 16 MB that mean "continued in the next packet"
                raise TooWide
            self.sequence = (self.sequence + 1) % 256
            return await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise SourceUnreachable("The server closed the connection.") from error

    def write(self, payload: bytes) -> None:
        """Send one packet, which must be smaller than 16 MB."""
        self.writer.write(len(payload).to_bytes(3, "little") + bytes([self.sequence]) + payload)
        self.sequence = (self.sequence + 1) % 256


def refusal(payload: bytes) -> ServerRefused:
    """The error in an error packet."""
    code = int.from_bytes(payload[1:3], "little")
    text = payload[3:]
    state = ""
    if text[:1] == b"#":
        state, text = text[1:6].decode("ascii", "replace"), text[6:]
    return ServerRefused(code, state, text.decode("utf-8", "replace"))
