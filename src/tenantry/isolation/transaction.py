"""The one door to rows: `Database.tenant(ctx)` (DB-3, DB-6).

Round trips of a transaction with n statements: n + 2, the same as without isolation. The first
message carries BEGIN and the signed context together; the last carries COMMIT and the reset of
everything a smuggled statement could have left on the session.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow

from tenantry.core.clock import Clock
from tenantry.core.errors import (
    Conflict,
    ContextInvalid,
    ContextMissing,
    InvalidRequest,
    StoreUnavailable,
    TenantryError,
)
from tenantry.db.pool import Connection, RolePool
from tenantry.isolation.context import ContextMint, TenantContext
from tenantry.isolation.signing import ContextSigner

_TOKEN_LIFE_S = 300
_BEGIN = sql.SQL("BEGIN; SELECT set_config('tenantry.context', {}, true)")
_SET_CONTEXT = b"SELECT set_config('tenantry.context', %(token)s, true)"
_RESET = b"RESET ALL; UNLISTEN *; CLOSE ALL; SELECT pg_advisory_unlock_all()"
_COMMIT = b"COMMIT; " + _RESET
_ROLLBACK = b"ROLLBACK; " + _RESET

Parameters = Mapping[str, object]


class Transaction:
    """Statements of one tenant, all in one database transaction."""

    def __init__(self, connection: Connection, ctx: TenantContext) -> None:
        self._connection = connection
        self.ctx = ctx

    async def rows(self, query: bytes, **parameters: object) -> list[DictRow]:
        """All rows of `query`, as dictionaries by column name."""
        cursor = await self._connection.execute(query, self._with_tenant(parameters))
        return await cursor.fetchall()

    async def row(self, query: bytes, **parameters: object) -> DictRow | None:
        """The first row of `query`, or None."""
        cursor = await self._connection.execute(query, self._with_tenant(parameters))
        return await cursor.fetchone()

    async def value(self, query: bytes, **parameters: object) -> Any:
        """First column of the first row, or None."""
        found = await self.row(query, **parameters)
        return None if found is None else next(iter(found.values()))

    async def execute(self, query: bytes, **parameters: object) -> int:
        """Run a statement; the number of rows it touched."""
        cursor = await self._connection.execute(query, self._with_tenant(parameters))
        return cursor.rowcount

    async def execute_many(self, query: bytes, parameters: Sequence[Parameters]) -> None:
        """Run a statement once per element, in one pipelined batch."""
        async with self._connection.cursor() as cursor:
            await cursor.executemany(query, [self._with_tenant(p) for p in parameters])

    def _with_tenant(self, parameters: Parameters) -> dict[str, object]:
        # `%(tenant)s` is always the context's own: no caller can pass another.
        return {**parameters, "tenant": self.ctx.tenant}


class Database:
    """Gives out transactions bound to a tenant; there is no other way to tenant tables."""

    def __init__(
        self,
        pool: RolePool,
        mint: ContextMint,
        signer: ContextSigner,
        clock: Clock,
        *,
        behind_pooler: bool = False,
    ) -> None:
        self._pool = pool
        self._mint = mint
        self._signer = signer
        self._clock = clock
        self._behind_pooler = behind_pooler

    @asynccontextmanager
    async def tenant(self, ctx: TenantContext) -> AsyncIterator[Transaction]:
        """A transaction in which exactly the rows of `ctx.tenant` exist.

        Commits at the end; any exception, cancellation included, rolls back and closes the
        connection.

        Raises:
            ContextInvalid: the context is not one our authentication made.
            StoreUnavailable: PostgreSQL cannot be reached.
            Conflict: a unique or foreign key stands against what was written.
        """
        self._mint.verify(ctx)
        async with self._pool.connection() as connection:
            try:
                await self._begin(connection, ctx)
                yield Transaction(connection, ctx)
                await connection.execute(_COMMIT, prepare=False)
            except psycopg.Error as error:
                raise translate(error) from error
            except TenantryError:
                await self._roll_back(connection)
                raise

    async def _begin(self, connection: Connection, ctx: TenantContext) -> None:
        expires_at = int(self._clock.now().timestamp()) + _TOKEN_LIFE_S
        if self._behind_pooler:
            # The pooler chooses the backend at BEGIN, so its process id is known only after.
            await connection.execute(b"BEGIN")
            cursor = await connection.execute(b"SELECT pg_backend_pid() AS pid")
            row = await cursor.fetchone()
            pid = row["pid"] if row else 0
            await connection.execute(
                _SET_CONTEXT, {"token": self._signer.token(ctx, pid, expires_at)}
            )
            return
        token = self._signer.token(ctx, connection.info.backend_pid, expires_at)
        await connection.execute(_BEGIN.format(token), prepare=False)

    async def _roll_back(self, connection: Connection) -> None:
        if connection.info.transaction_status != TransactionStatus.ACTIVE:
            await connection.execute(_ROLLBACK, prepare=False)


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
    if state[:2] in {"22", "23"}:
        return InvalidRequest("A value is outside what can be stored.")
    if state == "" or state[:2] in {"08", "53", "57", "25"}:
        return StoreUnavailable()
    return TenantryError()
