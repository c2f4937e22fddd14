"""The `data_files` table and the files it speaks of, changed together."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from tenantry.connectors.base import Column, ConnectorServices, Table
from tenantry.connectors.stored_files import Incoming, StoredFiles
from tenantry.core.errors import Conflict, InvalidRequest, NotFound
from tenantry.core.ids import ConnectorId
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Transaction

FILES_KIND = "files"
_SQL = load("tenantry.connectors")
_MOST_TABLES = 200


@dataclass(frozen=True, slots=True)
class DataTable:
    """A table made of an uploaded file.

    Attributes:
        connector: the connector it belongs to.
        table: name, columns, rows and description.
        sha256: hash of what was uploaded.
        stored_sha256: hash of the Parquet file kept; also its name on disk.
        size_bytes: of the Parquet file kept.
        created_at: when it was added.
    """

    connector: ConnectorId
    table: Table
    sha256: bytes
    stored_sha256: bytes
    size_bytes: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewTable:
    """A table about to be added: its file is written, but has no name yet."""

    connector: ConnectorId
    table: Table
    sha256: bytes
    stored_sha256: bytes
    size_bytes: int
    incoming: Incoming


class DataTables:
    """Lists, adds and removes tables, within one tenant at a time."""

    def __init__(self, services: ConnectorServices, files: StoredFiles) -> None:
        self._db = services.db
        self._audit = services.audit
        self._files = files

    async def list_tables(self, ctx: TenantContext, connector: UUID) -> list[DataTable]:
        """Tables of a connector, by name.

        Raises:
            NotFound: no such connector of files in this tenant.
        """
        async with self._db.tenant(ctx) as tx:
            await _require_files(tx, _SQL["get_connector"], connector)
            return await _tables(tx, connector)

    async def add(self, ctx: TenantContext, new: NewTable) -> DataTable:
        """Name the file and write the row; both or neither.

        Raises:
            NotFound: no such connector of files in this tenant.
            Conflict: the connector has a table of this name, or as many as it may.
        """
        async with self._db.tenant(ctx) as tx:
            await _require_files(tx, _SQL["lock_connector"], new.connector)
            if len(await _tables(tx, new.connector)) >= _MOST_TABLES:
                raise Conflict(f"A connector has at most {_MOST_TABLES} tables.")
            # Else the removal of another table with the same content could take the file away
            # between its naming and this commit.
            await tx.value(_SQL["lock_stored"], stored=new.stored_sha256)
            await asyncio.to_thread(self._files.keep, ctx.tenant, new.incoming, new.stored_sha256)
            row = await tx.row(_SQL["add_table"], **_parameters(new), created_by=ctx.actor.id)
            detail = {"rows": new.table.rows, "size_bytes": new.size_bytes}
            await self._record(ctx, "table.added", new.connector, new.table.name, detail)
        if row is None:
            raise NotFound
        return _data_table(row)

    async def remove(self, ctx: TenantContext, connector: UUID, name: str) -> None:
        """Remove a table, and its file once no other table has the same content.

        Raises:
            NotFound: no such table in this tenant.
        """
        async with self._db.tenant(ctx) as tx:
            stored = await tx.value(_SQL["delete_table"], connector_id=connector, table_name=name)
            if stored is None:
                raise NotFound
            await self._record(ctx, "table.removed", connector, name, {})
        # After the commit: a row without its file would be worse than a file without its row.
        async with self._db.tenant(ctx) as tx:
            await tx.value(_SQL["lock_stored"], stored=stored)
            if await tx.value(_SQL["count_stored"], stored=stored) == 0:
                await asyncio.to_thread(self._files.remove, ctx.tenant, bytes(stored))

    async def _record(
        self,
        ctx: TenantContext,
        action: str,
        connector: UUID,
        name: str,
        detail: Mapping[str, int],
    ) -> None:
        # Inside the transaction: a change that cannot be recorded does not happen.
        target = f"{connector}/{name}"
        await self._audit.record(ctx.event(action, "allowed", "connector", target, detail))


async def _require_files(tx: Transaction, query: bytes, connector: UUID) -> None:
    found = await tx.row(query, connector_id=connector)
    if found is None:
        raise NotFound
    if found["kind"] != FILES_KIND:
        raise InvalidRequest("This connector does not take files.")


async def _tables(tx: Transaction, connector: UUID) -> list[DataTable]:
    return [_data_table(row) for row in await tx.rows(_SQL["list_tables"], connector_id=connector)]


def _parameters(new: NewTable) -> dict[str, object]:
    columns = [
        {"name": column.name, "type": column.type, "description": column.description}
        for column in new.table.columns
    ]
    return {
        "connector_id": new.connector,
        "table_name": new.table.name,
        "sha256": new.sha256,
        "stored_sha256": new.stored_sha256,
        "size_bytes": new.size_bytes,
        "row_count": new.table.rows,
        "columns": Jsonb(columns),
        "description": new.table.description,
    }


def _data_table(row: Mapping[str, Any]) -> DataTable:
    return DataTable(
        connector=ConnectorId(row["connector_id"]),
        table=Table(
            row["table_name"], _columns(row["columns"]), row["row_count"], row["description"]
        ),
        sha256=bytes(row["sha256"]),
        stored_sha256=bytes(row["stored_sha256"]),
        size_bytes=row["size_bytes"],
        created_at=row["created_at"],
    )


def _columns(stored: Sequence[Mapping[str, str]]) -> tuple[Column, ...]:
    return tuple(Column(c["name"], c["type"], c.get("description", "")) for c in stored)
