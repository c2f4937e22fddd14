"""Takes uploaded CSV and Parquet files in as tables (CON-1).

An upload is recognised by its content, converted once to Parquet in a confined process, and kept
under the hash of what was written. The same bytes under the same name are taken once.
"""

import asyncio
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from tenantry.connectors.base import Column, ConnectorServices, Table
from tenantry.connectors.conversion import Converter
from tenantry.connectors.csv_text import read_table
from tenantry.connectors.data_tables import DataTable, DataTables, NewTable
from tenantry.connectors.stored_files import StoredFiles, digest_of
from tenantry.core.errors import (
    Conflict,
    InvalidRequest,
    TooLarge,
)
from tenantry.core.ids import ConnectorId
from tenantry.core.off_loop import off_loop
from tenantry.isolation.context import TenantContext

_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_LONGEST_DESCRIPTION = 2_000


@dataclass(frozen=True, slots=True)
class TableUpload:
    """A file to be taken in as a table.

    Attributes:
        name: what the table is called in SQL: lower-case letters, digits and underscores.
        content: CSV or TSV with a line of column names, or Parquet.
        description: what a row is, and the units; shown to assistants.
        columns: descriptions of columns, by name.
    """

    name: str
    content: bytes = field(repr=False)
    description: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


class FileStore:
    """Adds, lists and removes the tables of connectors of files."""

    def __init__(
        self, services: ConnectorServices, max_bytes: int, *, conversion_s: int = 120
    ) -> None:
        self._files = StoredFiles(services.files_dir, services.clock)
        self._tables = DataTables(services, self._files)
        self._max_bytes = max_bytes
        self._converter = Converter(self._files, max_bytes, conversion_s)

    async def add(self, ctx: TenantContext, connector: UUID, upload: TableUpload) -> DataTable:
        """Take a file in as a table; the same content under the same name gives the same table.

        Raises:
            NotFound: no such connector of files in this tenant.
            InvalidRequest: the name or the description is not valid.
            TooLarge: the file is larger than the limit.
            DocumentUnreadable: it is neither CSV nor Parquet, or is damaged; the message says how.
            Conflict: a table of this name has another content.
            StoreUnavailable: it cannot be stored just now.
        """
        self._check(upload)
        digest = await asyncio.to_thread(_hash, upload.content)
        if known := await self._known(ctx, connector, upload.name, digest):
            return known
        content = await asyncio.to_thread(read_table, upload.content)
        async with off_loop(self._files.incoming(ctx.tenant)) as target:
            converted = await self._converter.convert(ctx, content, target)
            columns = tuple(
                Column(name, kind, upload.columns.get(name, "")) for name, kind in converted.columns
            )
            new = NewTable(
                connector=ConnectorId(connector),
                table=Table(upload.name, columns, converted.rows, upload.description),
                sha256=digest,
                stored_sha256=await asyncio.to_thread(digest_of, target.descriptor),
                size_bytes=os.fstat(target.descriptor).st_size,
                incoming=target,
            )
            try:
                return await self._tables.add(ctx, new)
            except Conflict:
                if known := await self._known(ctx, connector, upload.name, digest):
                    return known  # the same upload, a moment earlier
                raise

    async def list_tables(self, ctx: TenantContext, connector: UUID) -> list[DataTable]:
        """Tables of a connector, by name.

        Raises:
            NotFound: no such connector of files in this tenant.
        """
        return await self._tables.list_tables(ctx, connector)

    async def remove(self, ctx: TenantContext, connector: UUID, name: str) -> None:
        """Remove a table with its file.

        Raises:
            NotFound: no such table in this tenant.
        """
        await self._tables.remove(ctx, connector, name)

    async def close(self) -> None:
        """End whatever still runs."""
        await self._converter.close()

    def _check(self, upload: TableUpload) -> None:
        if not _TABLE_NAME.fullmatch(upload.name):
            raise InvalidRequest(
                "A table's name has up to 63 lower-case letters, digits and underscores, "
                "and starts with a letter."
            )
        for text in (upload.description, *upload.columns.values()):
            if len(text) > _LONGEST_DESCRIPTION or "\x00" in text:
                raise InvalidRequest("A description has up to 2,000 characters of plain text.")
        if len(upload.content) > self._max_bytes:
            raise TooLarge(f"A data file may have {self._max_bytes:,} bytes.")

    async def _known(
        self, ctx: TenantContext, connector: UUID, name: str, digest: bytes
    ) -> DataTable | None:
        for known in await self._tables.list_tables(ctx, connector):
            if known.table.name == name:
                if known.sha256 != digest:
                    raise Conflict("There is a table of this name; remove it first.")
                return known
        return None


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
