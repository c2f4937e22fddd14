"""One connection that runs statements and streams their rows (CON-2).

Every statement is one command and one result; a connection that has not read its result to the end
is `busy` and can only be stopped, never used again.

Source: MySQL 8.4 internals manual, "Command Phase" and "Text Resultset".
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from tenantry.connectors.mysql_handshake import Endpoint, Server, connect
from tenantry.connectors.mysql_packets import Fields, Malformed, Wire, refusal
from tenantry.connectors.mysql_values import ResultColumn, column
from tenantry.core.errors import SourceUnreachable

_QUIT, _QUERY, _PING, _RESET = 0x01, 0x03, 0x0E, 0x1F
_MOST_COLUMNS = 4_096  # of a table in MySQL
_GOODBYE_S = 1.0
_END_BYTES = 9  # shorter packets that start with 0xFE end a result

Row = tuple[bytes | None, ...]


class MySQLClient:
    """A logged-in connection. One statement at a time."""

    def __init__(self, wire: Wire, server: Server) -> None:
        self._wire = wire
        self._columns: tuple[ResultColumn, ...] = ()
        self.server = server
        self.busy = False

    @classmethod
    async def open(cls, endpoint: Endpoint, within_s: float) -> "MySQLClient":
        """Connect and log in.

        Raises:
            SourceUnreachable: nothing usable answers there in time.
            ServerRefused: the server refused the login.
        """
        try:
            async with asyncio.timeout(within_s):
                return cls(*await connect(endpoint))
        except TimeoutError as error:
            raise SourceUnreachable(
                f"{endpoint.host}, port {endpoint.port}, did not answer in {within_s:g} seconds."
            ) from error

    async def execute(self, sql: str) -> tuple[ResultColumn, ...]:
        """Send one statement; its rows, if it has any, follow from `rows`.

        Raises:
            ServerRefused: the server rejected it; the connection stays usable.
            SourceUnreachable: the connection is lost, or is not what it should be.
        """
        first = await self._command(_QUERY, sql.encode())
        if first[:1] == b"\x00":
            self.busy = False
            self._columns = ()
            return ()
        if first[:1] == b"\xfb":
            raise Malformed("The server asked for one of our files; it was given none.")
        count = Fields(first).length() or 0
        if not 0 < count <= _MOST_COLUMNS:
            raise Malformed
        names_types = self.server.names_types
        self._columns = tuple(
            [column(await self._wire.read(), names_types=names_types) for _ in range(count)]
        )
        if not _is_end(await self._wire.read()):
            raise Malformed
        return self._columns

    async def rows(self) -> AsyncGenerator[Row, None]:
        """Rows of the statement, as they arrive; nothing is read ahead beyond the socket's buffer.

        Raises:
            ServerRefused: the server stopped half-way; the connection stays usable.
            SourceUnreachable: the connection is lost, or is not what it should be.
        """
        while self.busy:
            payload = await self._wire.read()
            if _is_end(payload):
                self.busy = False
            elif payload[:1] == b"\xff":
                self.busy = False
                raise refusal(payload)
            else:
                yield self._row(payload)

    async def all(self, sql: str) -> Sequence[Row]:
        """Every row of a statement of our own.

        Raises:
            ServerRefused: the server rejected it; the connection stays usable.
            SourceUnreachable: the connection is lost, or is not what it should be.
        """
        await self.execute(sql)
        return [row async for row in self.rows()]

    async def ping(self) -> None:
        """Check that the server still answers.

        Raises:
            SourceUnreachable: it does not.
        """
        await self._simple(_PING)

    async def reset(self) -> None:
        """Let the server forget the session: variables, temporary tables, locks, transaction.

        Raises:
            ServerRefused: it cannot.
            SourceUnreachable: the connection is lost.
        """
        await self._simple(_RESET)

    async def end(self) -> None:
        """Close the socket; never raises. The server may go on with what it runs."""
        writer = self._wire.writer
        if self.busy:
            writer.transport.abort()
        elif not writer.transport.is_closing():
            self._wire.sequence = 0
            self._wire.write(bytes([_QUIT]))
        writer.close()
        try:
            async with asyncio.timeout(_GOODBYE_S):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()  # it does not say goodbye: nothing is lost

    async def _simple(self, command: int) -> None:
        answer = await self._command(command, b"")
        if answer[:1] != b"\x00":
            raise Malformed
        self.busy = False

    async def _command(self, command: int, argument: bytes) -> bytes:
        if self.busy:
            raise SourceUnreachable("An earlier result was not read to its end.")
        self.busy = True
        self._wire.sequence = 0
        self._wire.write(bytes([command]) + argument)
        first = await self._wire.read()
        if first[:1] == b"\xff":
            self.busy = False
            raise refusal(first)
        return first

    def _row(self, payload: bytes) -> Row:
        fields = Fields(payload)
        row = tuple([fields.text() for _ in self._columns])
        if not fields.is_done:
            raise Malformed
        return row


def _is_end(payload: bytes) -> bool:
    return payload[:1] == b"\xfe" and len(payload) < _END_BYTES
