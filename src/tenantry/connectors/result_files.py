"""Results too large for a prompt, kept as CSV files that the member who asked can download.

Threat: a colleague, or a neighbour, fetches a file by its id; a cell is opened as a formula by a
spreadsheet.
Invariant: a file lies in the database under row-level security, is read by its own member only, and
is gone after a week; a text that a spreadsheet would run is quoted (OWASP, CSV injection).
"""

import asyncio
import csv
import gzip
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from tenantry.connectors.base import QueryResult
from tenantry.core.errors import NotFound, TooLarge
from tenantry.core.events import Json
from tenantry.core.ids import new_id
from tenantry.core.storable import storable
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database

_SQL = load("tenantry.connectors")
_DAYS = 7
_MOST_BYTES = 1 << 30  # of a tenant's files together, as they are kept
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A kept result, without its content.

    Attributes:
        result_id: UUIDv7.
        connector: name of the connector it came from.
        sql: the statement that ran.
        row_count: rows in the file.
        is_whole: False when a ceiling cut the result.
        size_bytes: of the CSV text.
        created_at: when the query ran.
        expires_at: when it is removed.
    """

    result_id: UUID
    connector: str
    sql: str
    row_count: int
    is_whole: bool
    size_bytes: int
    created_at: datetime
    expires_at: datetime


class ResultFiles:
    """Keeps results of one member at a time."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def keep(self, ctx: TenantContext, connector: str, result: QueryResult) -> ResultFile:
        """Keep a result as CSV for a week.

        Raises:
            Forbidden: the actor is no member.
            TooLarge: the tenant's kept results have reached their ceiling.
        """
        text = await asyncio.to_thread(csv_text, result.columns, result.rows)
        content = await asyncio.to_thread(gzip.compress, text, 6)
        async with self._db.tenant(ctx) as tx:
            row = await tx.row(
                _SQL["keep_result"],
                result_id=new_id(),
                connector=connector,
                sql=storable(result.sql),
                row_count=len(result.rows),
                is_whole=not result.truncated,
                size_bytes=len(text),
                content=content,
                member_id=ctx.member,
                days=_DAYS,
                most_bytes=_MOST_BYTES,
            )
        if row is None:
            raise TooLarge("The kept results have reached their ceiling; delete some.")
        return ResultFile(**row)

    async def list_own(self, ctx: TenantContext, after: UUID, limit: int) -> list[ResultFile]:
        """The member's results with ids after `after`, oldest first."""
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(
                _SQL["list_results"], member_id=ctx.member, after=after, limit=limit
            )
        return [ResultFile(**row) for row in rows]

    async def get(self, ctx: TenantContext, result: UUID) -> ResultFile:
        """One result of the member.

        Raises:
            NotFound: no such result, another member's, or expired.
        """
        return ResultFile(**await self._row(ctx, "get_result", result))

    async def content(self, ctx: TenantContext, result: UUID) -> bytes:
        """The CSV text, UTF-8.

        Raises:
            NotFound: no such result, another member's, or expired.
        """
        row = await self._row(ctx, "result_content", result)
        return await asyncio.to_thread(gzip.decompress, row["content"])

    async def remove(self, ctx: TenantContext, result: UUID) -> None:
        """Remove one result of the member.

        Raises:
            NotFound: no such result, or another member's.
        """
        async with self._db.tenant(ctx) as tx:
            if not await tx.execute(_SQL["delete_result"], result_id=result, member_id=ctx.member):
                raise NotFound

    async def remove_expired(self, ctx: TenantContext) -> int:
        """Remove what has expired in the tenant; how many."""
        async with self._db.tenant(ctx) as tx:
            return await tx.execute(_SQL["delete_expired_results"])

    async def _row(self, ctx: TenantContext, query: str, result: UUID) -> Mapping[str, Any]:
        async with self._db.tenant(ctx) as tx:
            row = await tx.row(_SQL[query], result_id=result, member_id=ctx.member)
        if row is None:
            raise NotFound
        return row


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Json]]) -> bytes:
    """A result as CSV (RFC 4180), UTF-8, with a line of names."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: Json) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) and not _is_number(value) else value
    return orjson.dumps(value).decode()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
