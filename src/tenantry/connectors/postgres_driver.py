"""A pooled connection to a PostgreSQL server that can only read (CON-2, CON-3, POOL-2).

Threat: what one borrower leaves behind reaches the next, a query goes on at the server after
nobody waits for it, or SQL is read there otherwise than by the guard.
Invariant: between borrowers the server itself forgets the session; the settings that decide what
text and names mean are pinned; every transaction is read-only; a result that was not read to its
end is stopped at the server, and its connection is never used again.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, suppress
from pathlib import Path

from tenantry.connectors.database_source import Deadlines
from tenantry.connectors.postgres_client import PostgresClient, Row
from tenantry.connectors.postgres_dial import Authority, Endpoint, dial
from tenantry.connectors.postgres_plan import MOST_COST, cost
from tenantry.connectors.postgres_values import ResultColumn
from tenantry.core.errors import QueryFailed, QueryRefused, QueryTimeout, SourceUnreachable
from tenantry.db.queries import parse
from tenantry.pools.base import Identity

_STATEMENTS = parse(Path(__file__).with_name("postgres.sql").read_text("utf-8"))
_LOCK_S = 5
_IDLE_S = 60


class PostgresConnection:
    """One connection, logged in and set up for reading."""

    def __init__(self, client: PostgresClient, authority: Authority, deadlines: Deadlines) -> None:
        self._client = client
        self._authority = authority
        self._deadlines = deadlines

    @classmethod
    async def open(cls, endpoint: Endpoint, deadlines: Deadlines) -> "PostgresConnection":
        """Connect, log in and set the session up.

        Raises:
            SourceUnreachable: it cannot be done, and why.
            QueryFailed: the server rejects the settings.
        """
        options = endpoint.options
        authority = Authority.of(options.tls_ca if options.tls == "verify-full" else "")
        try:
            async with asyncio.timeout(deadlines.connect_s):
                client = PostgresClient(await dial(endpoint, authority))
                connection = cls(client, authority, deadlines)
                try:
                    await connection._prepare()
                except BaseException:
                    await connection.close()
                    raise
        except TimeoutError as error:
            raise SourceUnreachable(
                f"{options.host}, port {options.port}, did not answer in "
                f"{deadlines.connect_s:g} seconds."
            ) from error
        return connection

    async def identity(self) -> Identity:
        """Who this connection is, as the server itself says.

        Raises:
            SourceUnreachable: it does not say.
        """
        rows = await self.all("identity")
        if len(rows) != 1 or len(rows[0]) != 5:
            raise SourceUnreachable("The server does not say who is logged in.")
        login, acting, database, server, session = (
            (value or b"").decode("utf-8", "replace") for value in rows[0]
        )
        user = login if login == acting else f"{login} as {acting}"
        return Identity(user, database, f"{server}#{session}")

    async def reset(self) -> Identity:
        """Let the server forget whatever the last borrower left, and set the session up anew.

        Returns:
            Who this connection is afterwards, as the server itself says.

        Raises:
            SourceUnreachable: the connection cannot be used again.
        """
        try:
            if self._client.is_in_transaction:
                await self.all("rollback")
            await self.all("discard")
            await self._prepare()
            return await self.identity()
        except SourceUnreachable:
            raise
        except (QueryFailed, QueryTimeout) as error:
            raise SourceUnreachable("The server cannot reset a session.") from error

    async def ping(self) -> None:
        """Check that the server still answers.

        Raises:
            SourceUnreachable: it does not.
        """
        await self.all("ping")

    async def close(self) -> None:
        """Stop what still runs at the server, then close; never raises."""
        with ExitStack() as stack:
            if self._client.busy:
                with suppress(OSError):  # then only the statement timeout stops it
                    stack.enter_context(self._authority.held())
            await self._client.end()

    async def begin(self) -> None:
        """Begin a read-only transaction, which ends with `reset`.

        Raises:
            SourceUnreachable: the connection is lost.
        """
        await self.all("begin")

    async def all(self, statement: str, *values: str, **parts: str) -> list[Row]:
        """Every row of one of the statements in `postgres.sql`, with its braces filled.

        Raises:
            QueryFailed: the server rejected it.
            QueryTimeout: the server stopped it.
            SourceUnreachable: the connection is lost.
        """
        sql = _STATEMENTS[statement].decode()
        return await self._client.all(sql.format(**parts) if parts else sql, values)

    async def weigh(self, sql: str) -> None:
        """Have the server plan a statement that the guard let through.

        Raises:
            QueryRefused: it would cost too much.
            QueryFailed: the server rejected it.
            SourceUnreachable: the connection is lost.
        """
        rows = await self.all("plan", query=sql)
        found = cost(rows[0][0] or b"" if rows and rows[0] else b"")
        if found > MOST_COST:
            raise QueryRefused(
                f"The query would cost about {found:.0e} by the database's plan; at most "
                f"{MOST_COST:.0e} may be. Join on indexed columns, or narrow it down with WHERE."
            )

    async def execute(self, sql: str) -> tuple[ResultColumn, ...]:
        """Send a statement that the guard let through; its rows follow from `rows`.

        Raises:
            QueryFailed: the server rejected it.
            QueryTimeout: the server stopped it.
            SourceUnreachable: the connection is lost.
        """
        return await self._client.execute(sql)

    def rows(self) -> AsyncGenerator[Row, None]:
        """Its rows, as they arrive.

        Raises:
            QueryFailed: the server gave up half-way.
            QueryTimeout: the server stopped it.
            SourceUnreachable: the connection is lost.
        """
        return self._client.rows()

    async def _prepare(self) -> None:
        statement_ms = int(self._deadlines.statement_s * 1000)
        await self.all("session", str(statement_ms), f"{_IDLE_S}s", f"{_LOCK_S}s")
