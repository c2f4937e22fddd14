"""Statements on one connection, and the door for roles that serve no single tenant.

`tenantry_auth`, `tenantry_audit` and `tenantry_operator` see what the grants and policies of
their own give them (DB-5): credentials to look up, the audit log to append to, the directory of
tenants. None of them can read a tenant's content.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.rows import DictRow

from tenantry.core.errors import (
    Conflict,
    ContextInvalid,
    ContextMissing,
    InvalidRequest,
    StoreUnavailable,
    TenantryError,
)
from tenantry.db.pool import Connection, Cursor, RolePool

Parameters = Mapping[str, object]


class Statements:
    """Runs named statements; rows come back as dictionaries by column name."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def rows(self, query: bytes, **parameters: object) -> list[DictRow]:
        """All rows of `query`."""
        async with self._run(query, parameters) as cursor:
            return await cursor.fetchall()

    async def row(self, query: bytes, **parameters: object) -> DictRow | None:
        """The first row of `query`, or None."""
        async with self._run(query, parameters) as cursor:
            return await cursor.fetchone()

    async def value(self, query: bytes, **parameters: object) -> Any:
        """First column of the first row, or None."""
        found = await self.row(query, **parameters)
        return None if found is None else next(iter(found.values()))

    async def execute(self, query: bytes, **parameters: object) -> int:
        """Run a statement; the number of rows it touched."""
        async with self._run(query, parameters) as cursor:
            return cursor.rowcount

    async def execute_many(self, query: bytes, parameters: Sequence[Parameters]) -> None:
        """Run a statement once per element, in one pipelined batch."""
        async with self._connection.cursor() as cursor:
            await cursor.executemany(query, [self._bound(p) for p in parameters])
            self._inspect(cursor)

    async def notices(self, timeout_s: float) -> AsyncIterator[tuple[str, str]]:
        """Channel and payload of what is heard; ends after `timeout_s` seconds."""
        async for notice in self._connection.notifies(timeout=timeout_s):
            yield notice.channel, notice.payload

    @asynccontextmanager
    async def _run(self, query: bytes, parameters: Parameters) -> AsyncIterator[Cursor]:
        cursor = await self._connection.execute(query, self._bound(parameters))
        try:
            yield cursor
        finally:
            self._inspect(cursor)

    def _inspect(self, cursor: Cursor) -> None:
        """Look at what ran, once its rows were read; a transaction of a tenant does."""

    def _bound(self, parameters: Parameters) -> dict[str, object]:
        return dict(parameters)


class RoleDatabase:
    """Statements of one role outside every tenant."""

    def __init__(self, pool: RolePool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[Statements]:
        """Statements that each commit by themselves: one round trip each.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached.
            Conflict: a unique or foreign key stands against what was written.
        """
        async with self._pool.connection() as connection:
            try:
                yield Statements(connection)
            except psycopg.Error as error:
                raise translate(error) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Statements]:
        """Statements that commit together.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached.
            Conflict: a unique or foreign key stands against what was written.
        """
        async with self._pool.connection() as connection:
            try:
                async with connection.transaction():
                    yield Statements(connection)
            except psycopg.Error as error:
                raise translate(error) from error


_BY_STATE: Mapping[str, type[TenantryError]] = {
    "TC001": ContextMissing,
    "TC002": ContextInvalid,
    "23505": Conflict,
    "23503": Conflict,
}


def translate(error: psycopg.Error) -> TenantryError:
    """Our error for PostgreSQL's; its text is dropped, since it may quote rows and names."""
    state = error.sqlstate or ""
    if state in _BY_STATE:
        return _BY_STATE[state]()
    # Without a state: the driver itself could not send the value, such as a text with NUL.
    if state[:2] in {"22", "23"} or isinstance(error, psycopg.DataError):
        return InvalidRequest("A value is outside what can be stored.")
    if state == "" or state[:2] in {"08", "53", "57", "25"}:
        return StoreUnavailable()
    return TenantryError()
