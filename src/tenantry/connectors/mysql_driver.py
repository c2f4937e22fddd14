"""A pooled connection to a MySQL or MariaDB server that can only read (CON-2, CON-3, POOL-2).

Threat: what one borrower leaves behind reaches the next, a query goes on at the server after
nobody waits for it, or SQL is read there otherwise than by the guard.
Invariant: between borrowers the server itself forgets the session; the modes that decide how text
is read are pinned; every transaction is read-only; a result that was not read to its end is
stopped at the server, and its connection is never used again.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path

from tenantry.connectors.database_source import Deadlines
from tenantry.connectors.mysql_client import MySQLClient, Row
from tenantry.connectors.mysql_errors import translated
from tenantry.connectors.mysql_handshake import Endpoint
from tenantry.connectors.mysql_packets import Malformed, ServerRefused
from tenantry.connectors.mysql_plan import MOST_ROWS, rows_looked_at
from tenantry.connectors.mysql_values import ResultColumn
from tenantry.core.errors import QueryRefused, SourceUnreachable
from tenantry.core.events import Json
from tenantry.db.queries import parse
from tenantry.pools.base import Identity

_STATEMENTS = parse(Path(__file__).with_name("mysql.sql").read_text("utf-8"))
_STOP_S = 3.0
_LOCK_S = 5
_HIDDEN_VIEW = 1345


class MySQLConnection:
    """One connection, logged in and set up for reading."""

    def __init__(self, client: MySQLClient, endpoint: Endpoint, deadlines: Deadlines) -> None:
        self._client = client
        self._endpoint = endpoint
        self._deadlines = deadlines

    @classmethod
    async def open(cls, endpoint: Endpoint, deadlines: Deadlines) -> "MySQLConnection":
        """Connect, log in and set the session up.

        Raises:
            SourceUnreachable: it cannot be done, and why.
            QueryFailed: the server rejects the settings.
        """
        try:
            client = await MySQLClient.open(endpoint, deadlines.connect_s)
        except ServerRefused as error:
            raise translated(error) from None
        connection = cls(client, endpoint, deadlines)
        try:
            async with asyncio.timeout(deadlines.connect_s):
                await connection._prepare()
        except TimeoutError as error:
            await connection.close()
            raise SourceUnreachable("The server does not answer.") from error
        except BaseException:
            await connection.close()
            raise
        return connection

    @property
    def is_mariadb(self) -> bool:
        """True for MariaDB."""
        return self._client.server.is_mariadb

    async def identity(self) -> Identity:
        """Who this connection is, as the server itself says.

        Raises:
            SourceUnreachable: it does not say.
        """
        ((account, database, server, number),) = await self.all("identity")
        if account is None or server is None or number is None:
            raise Malformed
        return Identity(
            user=account.decode().rpartition("@")[0],
            database=(database or b"").decode(),
            server=f"{server.decode()}#{number.decode()}",
        )

    async def reset(self) -> Identity:
        """Let the server forget whatever the last borrower left, and set the session up anew.

        Returns:
            Who this connection is afterwards, as the server itself says.

        Raises:
            SourceUnreachable: the connection cannot be used again.
        """
        try:
            await self._client.reset()
        except ServerRefused as error:
            raise SourceUnreachable("The server cannot reset a session.") from error
        await self._prepare()
        return await self.identity()

    async def ping(self) -> None:
        """Check that the server still answers.

        Raises:
            SourceUnreachable: it does not.
        """
        await self._client.ping()

    async def close(self) -> None:
        """Stop what still runs at the server, then close; never raises."""
        if self._client.busy:
            await self._stop()
        await self._client.end()

    async def begin(self) -> None:
        """Begin a read-only transaction, which ends with `reset`.

        Raises:
            SourceUnreachable: the connection is lost.
        """
        await self.all("begin")

    async def all(self, statement: str, **parts: str) -> Sequence[Row]:
        """Every row of one of the statements in `mysql.sql`, with its braces filled.

        Raises:
            QueryFailed: the server rejected it.
            QueryTimeout: the server stopped it.
            SourceUnreachable: the connection is lost.
        """
        try:
            return await self._client.all(_STATEMENTS[statement].decode().format(**parts))
        except ServerRefused as error:
            raise translated(error) from None

    async def plan(self, sql: str) -> list[dict[str, Json]]:
        """How the server would run a statement that the guard let through; it is not run.

        Empty where the login may read a view but not see what the view reads: then the time limit
        stands alone.

        Raises:
            QueryFailed: the server rejected it.
            SourceUnreachable: the connection is lost.
        """
        try:
            columns = await self._client.execute(_STATEMENTS["plan"].decode().format(query=sql))
        except ServerRefused as error:
            if error.code == _HIDDEN_VIEW:
                return []
            raise translated(error) from None
        return [
            {column.name: column.value(value) for column, value in zip(columns, row, strict=True)}
            async for row in self.rows()
        ]

    async def weigh(self, sql: str) -> None:
        """Have the server plan a statement that the guard let through.

        Raises:
            QueryRefused: it would look at too many rows.
            QueryFailed: the server rejected it.
            SourceUnreachable: the connection is lost.
        """
        looked_at = rows_looked_at(await self.plan(sql))
        if looked_at > MOST_ROWS:
            raise QueryRefused(
                f"The query would look at about {looked_at:.0e} rows; at most {MOST_ROWS:.0e} may "
                "be. Join on indexed columns, or narrow it down with WHERE."
            )

    async def execute(self, sql: str) -> tuple[ResultColumn, ...]:
        """Send a statement that the guard let through; its rows follow from `rows`.

        Raises:
            QueryFailed: the server rejected it.
            QueryTimeout: the server stopped it.
            SourceUnreachable: the connection is lost.
        """
        try:
            return await self._client.execute(sql)
        except ServerRefused as error:
            raise translated(error) from None

    async def rows(self) -> AsyncGenerator[Row, None]:
        """Its rows, as they arrive.

        Raises:
            QueryFailed: the server gave up half-way.
            QueryTimeout: the server stopped it.
            SourceUnreachable: the connection is lost.
        """
        try:
            async for row in self._client.rows():
                yield row
        except ServerRefused as error:
            raise translated(error) from None

    async def _prepare(self) -> None:
        statement_s = self._deadlines.statement_s
        await self.all(
            "session_mariadb" if self.is_mariadb else "session_mysql",
            lock_s=str(_LOCK_S),
            statement_s=f"{statement_s:.3f}",
            statement_ms=str(int(statement_s * 1000)),
        )
        await self.all("read_only")

    async def _stop(self) -> None:
        """Tell the server, which does not notice a closed socket while it computes."""
        server = self._client.server
        kill = _STATEMENTS["stop"].decode().format(connection=server.connection)
        endpoint = replace(self._endpoint, addresses=(server.address,))
        try:
            async with asyncio.timeout(_STOP_S):
                other = await MySQLClient.open(endpoint, _STOP_S)
                try:
                    await other.execute(kill)
                finally:
                    await other.end()
        except (SourceUnreachable, ServerRefused, TimeoutError):
            return  # its own statement timeout, set at login, is the second wall
