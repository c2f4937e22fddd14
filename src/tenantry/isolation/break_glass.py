"""Break-glass: an operator reads one tenant's content, for a reason, for a while, on record (DB-5).

The database enforces all of it (`db/migrations/0009_break_glass.sql`): who may open, how long it
lasts, that reading is all it allows, and that opening and each session of reading stand in the
tenant's own audit chain before the first row is seen.
"""

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from tenantry.core.errors import Conflict, Forbidden, InvalidRequest, NotFound
from tenantry.core.ids import TenantId
from tenantry.db.pool import Cursor, RolePool
from tenantry.db.queries import load
from tenantry.isolation.declared import BREAK_GLASS_TABLES
from tenantry.isolation.statements import Parameters, RoleDatabase, Statements, translate

_SQL = load("tenantry.isolation")
_MAX_MINUTES = 60
_REASON_CHARS = range(10, 501)
_CLOSED = "This break-glass grant is not open: it expired, was closed, or never was."


@dataclass(frozen=True, slots=True)
class BreakGlassGrant:
    """Leave to read one tenant until `expires_at`; `token` is known to its holder alone."""

    id: UUID
    tenant: TenantId
    operator_id: UUID
    expires_at: datetime
    token: str = field(repr=False)


class BreakGlassReader(Statements):
    """Read-only statements on one tenant's rows; each is refused once the grant is over."""

    async def table(self, name: str, limit: int, skip: int = 0) -> list[dict[str, Any]]:
        """Rows of a table of content, as JSON objects.

        Raises:
            InvalidRequest: it is none of `BREAK_GLASS_TABLES`.
            Forbidden: the grant is over.
        """
        if name not in BREAK_GLASS_TABLES:
            raise InvalidRequest(f"Read one of {', '.join(BREAK_GLASS_TABLES)}.")
        rows = await self.rows(_SQL["break_glass_rows"], of_table=name, most=limit, skipped=skip)
        return [row["row"] for row in rows]

    @asynccontextmanager
    async def _run(self, query: bytes, parameters: Parameters) -> AsyncIterator[Cursor]:
        # A policy is not evaluated where no row is read: without this, a session that is over
        # would find an empty table empty instead of being refused.
        await self._connection.execute(_SQL["break_glass_tenant"])
        async with super()._run(query, parameters) as cursor:
            yield cursor


class BreakGlass:
    """Opens and closes grants as the operator role, reads as the break-glass role."""

    def __init__(self, operators: RoleDatabase, readers: RolePool) -> None:
        self._operators = operators
        self._readers = readers

    async def open(
        self,
        operator_id: UUID,
        tenant: TenantId,
        reason: str,
        minutes: int,
        request_id: str = "",
    ) -> BreakGlassGrant:
        """A new grant, recorded in the tenant's audit chain.

        Raises:
            InvalidRequest: not 1 to 60 minutes, or a reason not of 10 to 500 characters.
            NotFound: no such operator or tenant.
        """
        if not 1 <= minutes <= _MAX_MINUTES:
            raise InvalidRequest(f"Break-glass access lasts 1 to {_MAX_MINUTES} minutes.")
        if len(reason.strip()) not in _REASON_CHARS:
            raise InvalidRequest(
                "A reason of 10 to 500 characters is required; the tenant sees it."
            )
        token = secrets.token_hex(32)
        try:
            async with self._operators.autocommit() as statements:
                row = await statements.row(
                    _SQL["open_break_glass"],
                    operator_id=operator_id,
                    tenant_id=tenant,
                    reason=reason.strip(),
                    minutes=minutes,
                    digest=_digest(token),
                    request_id=request_id,
                )
        except Conflict as error:  # a foreign key: no such operator, or no such tenant
            raise NotFound from error
        if row is None:
            raise NotFound
        return BreakGlassGrant(row["opened_grant"], tenant, operator_id, row["until"], token)

    async def close(self, grant: UUID, operator_id: UUID, request_id: str = "") -> None:
        """End a grant now, whoever opened it; sessions that are reading with it end too.

        Raises:
            NotFound: there is no such grant, or it is closed already.
        """
        async with self._operators.autocommit() as statements:
            was_open = await statements.value(
                _SQL["close_break_glass"],
                operator_id=operator_id,
                grant_id=grant,
                request_id=request_id,
            )
        if not was_open:
            raise NotFound

    async def list_grants(
        self, *, include_ended: bool = False, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Open grants, or all, newest first; never a token."""
        async with self._operators.autocommit() as statements:
            return await statements.rows(_SQL["list_break_glass"], all=include_ended, limit=limit)

    @asynccontextmanager
    async def read(self, token: str, request_id: str = "") -> AsyncIterator[BreakGlassReader]:
        """Read-only statements on the tenant of a grant, recorded before they start.

        Args:
            token: the grant's, which its holder alone knows.
            request_id: the request it happens in.

        Raises:
            Forbidden: the grant is over, at the start or meanwhile; an attempt is recorded too.
            StoreUnavailable: PostgreSQL cannot be reached.
        """
        async with self._readers.connection() as connection:
            try:
                parameters = {"digest": _digest(token), "request_id": request_id}
                # Commits by itself: the record stays, whatever becomes of the reading.
                cursor = await connection.execute(_SQL["enter_break_glass"], parameters)
                row = await cursor.fetchone()
                if row is None or row["session"] is None:
                    raise Forbidden(_CLOSED)
                await connection.execute(b"BEGIN READ ONLY")
                await connection.execute(_SQL["set_break_glass"], {"session": str(row["session"])})
                yield BreakGlassReader(connection)
            except psycopg.Error as error:
                if error.sqlstate == "TC003":
                    raise Forbidden(_CLOSED) from error
                raise translate(error) from error
            finally:
                # Rare work: a connection of its own each time, so that nothing can stay behind.
                await connection.close()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
