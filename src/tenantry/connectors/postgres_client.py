"""One connection that runs statements and streams their rows (CON-2).

libpq reads from the socket and never more than it was asked to; what is asked here is counted. A
connection that has not read its result to the end is `busy` and can only be stopped.

Source: PostgreSQL 18 manual, "Asynchronous Command Processing", "Retrieving Query Results Row-by-
Row"; linux/tcp.h, `struct tcp_info`.
"""

import os
import socket
import struct
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any

from psycopg import AsyncConnection, waiting
from psycopg.errors import Error
from psycopg.pq import DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

from tenantry.connectors.postgres_errors import GONE, translated
from tenantry.connectors.postgres_values import ResultColumn
from tenantry.core.errors import SourceUnreachable

_MOST_BYTES_A_ROW = 16 * 1024 * 1024
_MOST_BYTES_OF_OURS = 64 * 1024 * 1024
_GOODBYE_S = 3.0
_BYTES_RECEIVED = 128  # where `tcpi_bytes_received` stands in Linux' struct tcp_info
_ROW = (ExecStatus.SINGLE_TUPLE,)
_END = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY)

Row = tuple[bytes | None, ...]


class PostgresClient:
    """A logged-in connection. One statement at a time."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection
        self._pg: PGconn = connection.pgconn
        self._first: PGresult | None = None
        self.busy = False

    @property
    def is_in_transaction(self) -> bool:
        """True between BEGIN and its end, as the server said last."""
        return self._pg.transaction_status != TransactionStatus.IDLE

    async def execute(self, sql: str, values: Sequence[str] = ()) -> tuple[ResultColumn, ...]:
        """Send one statement; its rows, if it has any, follow from `rows`.

        Raises:
            QueryFailed: the server rejected it; the connection stays usable.
            QueryTimeout: the server stopped it; the connection stays usable.
            SourceUnreachable: the connection is lost.
        """
        if self.busy:
            raise SourceUnreachable("An earlier result was not read to its end.")
        self.busy = True
        try:
            self._pg.send_query_params(sql.encode(), [value.encode() for value in values])
            self._pg.set_single_row_mode()
            self._first = await self._next(_MOST_BYTES_A_ROW, flush=True)
        except Error:
            raise SourceUnreachable(GONE) from None
        if self._first is None:
            raise SourceUnreachable(GONE)
        await self._reject(self._first)
        result = self._first
        return tuple(
            ResultColumn((result.fname(at) or b"").decode("utf-8", "replace"), result.ftype(at))
            for at in range(result.nfields)
        )

    async def rows(self, most_bytes: int = 0) -> AsyncGenerator[Row, None]:
        """Rows of the statement, as they arrive; nothing is read ahead beyond the socket's buffer.

        Args:
            most_bytes: of all of them; 0 for no end, as each is bounded alone.

        Raises:
            QueryFailed, QueryTimeout: the server stopped half-way; the connection stays usable.
            SourceUnreachable: the connection is lost, or sends more than it may.
        """
        result, self._first = self._first, None
        began = received(self._pg.socket)
        try:
            while self.busy:
                if result is None:
                    self.busy = False
                    return
                await self._reject(result)
                for at in range(result.ntuples):
                    yield tuple(result.get_value(at, c) for c in range(result.nfields))
                if most_bytes and received(self._pg.socket) - began > most_bytes:
                    raise SourceUnreachable("The server says more than is asked of it.")
                result = await self._next(_MOST_BYTES_A_ROW)
        except Error:
            raise SourceUnreachable(GONE) from None

    async def all(self, sql: str, values: Sequence[str] = ()) -> list[Row]:
        """Every row of a statement of our own.

        Raises:
            QueryFailed, QueryTimeout: the server rejected it; the connection stays usable.
            SourceUnreachable: the connection is lost.
        """
        await self.execute(sql, values)
        return [row async for row in self.rows(_MOST_BYTES_OF_OURS)]

    async def end(self) -> None:
        """Stop what runs at the server, and close the socket; never raises."""
        try:
            if self.busy:
                await self._connection.cancel_safe(timeout=_GOODBYE_S)
        except (Error, OSError):
            pass  # its own statement timeout, set at login, is the second wall
        finally:
            self._pg.finish()

    async def _reject(self, result: PGresult) -> None:
        """Raise what an error result says, having read to its end."""
        if result.status in _ROW or result.status in _END:
            return
        if result.status != ExecStatus.FATAL_ERROR:
            raise SourceUnreachable("The server asks for data; it is given none.")
        code = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode("ascii", "replace")
        text = (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode(
            "utf-8", "replace"
        )
        try:
            while await self._next(_MOST_BYTES_A_ROW) is not None:
                continue
        except Error:
            raise SourceUnreachable(GONE) from None
        self.busy = False
        raise translated(code, text) if code else SourceUnreachable(GONE)

    async def _next(self, most_bytes: int, *, flush: bool = False) -> PGresult | None:
        steps = _steps(self._pg, most_bytes, flush=flush)
        return await waiting.wait_async(steps, self._pg.socket, interval=60.0)


def _steps(
    pg: PGconn, most_bytes: int, *, flush: bool
) -> Generator[Wait, Ready | int, PGresult | None]:
    """Wait for the next result, in libpq's own order."""
    while flush and pg.flush():
        if (yield Wait.RW) & Ready.R:
            pg.consume_input()
    began = received(pg.socket)
    while pg.is_busy():
        ready = yield Wait.R
        if not ready & Ready.R:
            continue
        pg.consume_input()
        while pg.notifies() is not None:
            continue  # nobody listens; they are not kept
        if received(pg.socket) - began > most_bytes:
            raise SourceUnreachable("A row is larger than 16 MB; select fewer or shorter columns.")
    return pg.get_result()


def received(number: int) -> int:
    """Bytes that a TCP socket has received, in the clear or not; 0 where nobody counts (Linux)."""
    if number < 0 or not hasattr(socket, "TCP_INFO"):
        return 0
    with socket.socket(fileno=os.dup(number)) as same:
        info = same.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED + 8)
    if len(info) < _BYTES_RECEIVED + 8:
        return 0
    return int(struct.unpack_from("=Q", info, _BYTES_RECEIVED)[0])
