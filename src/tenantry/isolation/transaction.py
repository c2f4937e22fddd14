"""The one door to rows: `Database.tenant(ctx)` (DB-3, DB-6).

Round trips of a transaction with n statements: n + 2, the same as without isolation. The first
message carries BEGIN and the signed context together; the last carries COMMIT and the reset of
what SELECT, INSERT, UPDATE and DELETE can leave on a session: settings and the role, for session
locks are withdrawn from tenants (`db/bootstrap.sql`). Both are made of commands that need no plan:
2 and 4 us more than bare BEGIN and COMMIT, where a SELECT of the same costs 15 each.

Where anything else ran (PREPARE, DO, LISTEN, SET, two statements at once …) the transaction is
refused and its session closed: a statement prepared under one of the driver's names would run in
the next tenant's context.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg.pq import TransactionStatus

from tenantry.core.clock import Clock
from tenantry.core.errors import ContextInvalid, Forbidden, TenantryError
from tenantry.db.pool import Connection, Cursor, RolePool
from tenantry.isolation.context import ContextMint, TenantContext
from tenantry.isolation.signing import ContextSigner, View
from tenantry.isolation.statements import Parameters, Statements, translate

_TOKEN_LIFE_S = 300
_ENTER = b"BEGIN; SET LOCAL ROLE tenantry_tenant; "
BEGIN = _ENTER + b"SET LOCAL tenantry.context = '%b'"
"""First message of a tenant's transaction; takes the signed context."""
_BEGIN_POOLED = _ENTER + b"SELECT pg_catalog.pg_backend_pid() AS pid"
_SET_CONTEXT = b"SELECT pg_catalog.set_config('tenantry.context', %(token)s, true)"
_RESET = b"RESET ROLE; RESET ALL"
COMMIT = b"COMMIT; " + _RESET
"""Last message of a tenant's transaction."""
_ROLLBACK = b"ROLLBACK; " + _RESET
_PLAIN = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"})


class Transaction(Statements):
    """Statements of one tenant, all in one database transaction."""

    def __init__(self, connection: Connection, ctx: TenantContext) -> None:
        super().__init__(connection)
        self.ctx = ctx
        self.is_plain = True

    def _inspect(self, cursor: Cursor) -> None:
        tag = (cursor.statusmessage or "").partition(" ")[0]
        if tag not in _PLAIN or cursor.nextset():
            self.is_plain = False

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
    async def tenant(
        self, ctx: TenantContext, *, keeping: bool = False
    ) -> AsyncIterator[Transaction]:
        """A transaction in which exactly the rows of `ctx.tenant` exist that `ctx` may see.

        For SELECT, INSERT, UPDATE, DELETE and MERGE only; a setting is made by `set_config`, with
        its third argument true. Commits at the end. An error of ours rolls back; anything else,
        cancellation included, also closes the connection.

        Args:
            ctx: the tenant, and who acts.
            keeping: it keeps members, keys, groups and access lists: it may write them, and sees
                every document. To be asked for by what keeps them, and by nothing else.

        Raises:
            ContextInvalid: the context is not one our authentication made.
            Forbidden: whoever acts is no keeper.
            StoreUnavailable: PostgreSQL cannot be reached.
            Conflict: a unique or foreign key stands against what was written.
            TenantryError: some other kind of statement ran, or ended the transaction.
        """
        self._mint.verify(ctx)
        view = _keepers_view(ctx) if keeping else None
        async with self._pool.connection() as connection:
            tx = Transaction(connection, ctx)
            try:
                await self._begin(connection, ctx, view)
                yield tx
                await self._commit(connection, tx)
            except psycopg.Error as error:
                raise translate(error) from error
            except TenantryError:
                await self._roll_back(connection)
                raise
            finally:
                if not tx.is_plain:
                    await connection.close()

    async def _begin(self, connection: Connection, ctx: TenantContext, view: View | None) -> None:
        expires_at = int(self._clock.now().timestamp()) + _TOKEN_LIFE_S
        if self._behind_pooler:
            # The pooler chooses the backend at BEGIN, so its process id is known only after.
            cursor = await connection.execute(_BEGIN_POOLED, prepare=False)
            while cursor.nextset():
                pass
            row = await cursor.fetchone()
            pid = row["pid"] if row else 0
            await connection.execute(
                _SET_CONTEXT, {"token": self._signer.token(ctx, pid, expires_at, view)}
            )
            return
        token = self._signer.token(ctx, connection.info.backend_pid, expires_at, view)
        # A simple query has no parameters, and only that carries BEGIN in the same message.
        if not token.isalnum():
            raise ContextInvalid
        await connection.execute(BEGIN % token.encode(), prepare=False)

    async def _commit(self, connection: Connection, tx: Transaction) -> None:
        if not tx.is_plain:
            raise TenantryError("A tenant's transaction reads and writes rows, nothing else.")
        if connection.info.transaction_status != TransactionStatus.INTRANS:
            # A failed statement whose error was swallowed, or a smuggled COMMIT: PostgreSQL would
            # answer COMMIT without an error, though the work is not stored.
            await connection.close()
            raise TenantryError("The transaction ended before its work was done.")
        await connection.execute(COMMIT, prepare=False)

    async def _roll_back(self, connection: Connection) -> None:
        if not connection.closed and connection.info.transaction_status != TransactionStatus.ACTIVE:
            await connection.execute(_ROLLBACK, prepare=False)


def _keepers_view(ctx: TenantContext) -> View:
    if ctx.keeps_access:
        return "k"
    if ctx.actor.kind == "operator" and "provision" in ctx.scopes:
        return "p"
    raise Forbidden("Only an owner or admin keeps members, groups and access lists.")
