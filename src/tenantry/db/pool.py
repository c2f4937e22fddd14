"""Connections to the platform's database, one small pool per role.

PROTECTED by import-linter: only `isolation` and `platform` may import this, so that nobody else
ever holds a connection.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from tenantry.core.errors import StoreUnavailable, TenantryError

Connection = AsyncConnection[DictRow]
Cursor = AsyncCursor[DictRow]
_UNREACHABLE = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)


class RolePool:
    """Connections that sign in as one of the least-privilege roles (DB-5).

    A connection whose work was cancelled or failed is closed, never handed to the next user: an
    answer still on the wire must not be read by somebody else. Only one that was rolled back in
    order, after an error of our own, goes back.
    """

    def __init__(
        self,
        url: str,
        role: str,
        password: str,
        max_size: int,
        *,
        behind_pooler: bool = False,
    ) -> None:
        self.role = role
        # A transaction-mode pooler gives each transaction another session, where a statement
        # prepared before is unknown.
        prepare_threshold = None if behind_pooler else 2
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            make_conninfo(url, user=role, password=password, application_name="tenantry"),
            connection_class=AsyncConnection[DictRow],
            # Autocommit: BEGIN and COMMIT are written out by `isolation.transaction`.
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "prepare_threshold": prepare_threshold,
            },
            min_size=0,
            max_size=max_size,
            timeout=10.0,
            max_idle=120.0,
            # Give a failed connection up soon: the next user then tries afresh.
            reconnect_timeout=3.0,
            open=False,
        )

    async def open(self) -> None:
        """Start the pool; connects on first use."""
        await self._pool.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of this role.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached, or all connections stay busy.
        """
        try:
            connection = await self._pool.getconn()
            try:
                yield connection
            except BaseException as error:
                idle = connection.info.transaction_status == TransactionStatus.IDLE
                if not (isinstance(error, TenantryError) and idle):
                    await connection.close()
                raise
            finally:
                # A cancellation that falls into the return would lose the place in the pool.
                await asyncio.shield(self._pool.putconn(connection))
        except _UNREACHABLE as error:
            raise StoreUnavailable from error

    def stats(self) -> dict[str, int]:
        """Counters of the pool, for metrics and tests."""
        return self._pool.get_stats()
