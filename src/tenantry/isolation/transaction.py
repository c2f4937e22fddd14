"""The one door to rows: `Database.tenant(ctx)` (DB-3, DB-6).

Round trips of a transaction with n statements: n + 2, the same as without isolation. The first
message carries BEGIN and the signed context together; the last carries COMMIT and the reset of
everything a smuggled statement could have left on the session.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from tenantry.core.clock import Clock
from tenantry.core.errors import TenantryError
from tenantry.db.pool import Connection, RolePool
from tenantry.isolation.context import ContextMint, TenantContext
from tenantry.isolation.signing import ContextSigner
from tenantry.isolation.statements import Parameters, Statements, translate

_TOKEN_LIFE_S = 300
_BEGIN = sql.SQL("BEGIN; SELECT set_config('tenantry.context', {}, true)")
_SET_CONTEXT = b"SELECT set_config('tenantry.context', %(token)s, true)"
_RESET = b"RESET ALL; UNLISTEN *; CLOSE ALL; SELECT pg_advisory_unlock_all()"
_COMMIT = b"COMMIT; " + _RESET
_ROLLBACK = b"ROLLBACK; " + _RESET


class Transaction(Statements):
    """Statements of one tenant, all in one database transaction."""

    def __init__(self, connection: Connection, ctx: TenantContext) -> None:
        super().__init__(connection)
        self.ctx = ctx

    def _bound(self, parameters: Parameters) -> dict[str, object]:
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

        Commits at the end. An error of ours rolls back; anything else, cancellation included,
        also closes the connection.

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
