"""Connector kind `files`: uploaded CSV and Parquet files, queried through DuckDB (CON-1, CON-3).

Threat: SQL reaches another file of the machine, or another tenant's, or uses the machine up.
Invariant: a query runs in a process of its own that was given the open files of the tables that the
guard found in it, and nothing else; rows, bytes and time are counted here, not there.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar

from tenantry.connectors.base import (
    ConnectorConfig,
    ConnectorDraft,
    ConnectorServices,
    QueryLimits,
    QueryResult,
    Table,
)
from tenantry.connectors.collected import Collected
from tenantry.connectors.data_tables import FILES_KIND, DataTable, DataTables
from tenantry.connectors.duckdb_process import DuckDbProcesses, Job, LineTooLong, answers
from tenantry.connectors.guarding import admit
from tenantry.connectors.slots import Slots
from tenantry.connectors.sql_guard import Approved, Scope
from tenantry.connectors.sql_relations import Relation
from tenantry.connectors.stored_files import StoredFiles, Unfit
from tenantry.core.errors import (
    BoundaryCrossed,
    InvalidRequest,
    QueryFailed,
    QueryTimeout,
    TenantryError,
)
from tenantry.core.events import Json
from tenantry.core.off_loop import off_loop
from tenantry.core.sandbox import Limits
from tenantry.isolation.context import TenantContext

_LIMITS = Limits(memory_bytes=512 * 1024 * 1024, threads=2, cpu_s=120)
_AT_ONCE, _AT_ONCE_PER_TENANT = 6, 2


class FilesConnector:
    """Opens connectors of files; holds the spare process that the next query takes."""

    kind: ClassVar[str] = FILES_KIND
    secret_fields: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, services: ConnectorServices) -> None:
        files = StoredFiles(services.files_dir, services.clock)
        self._parts = _Parts(
            services,
            files,
            DataTables(services, files),
            DuckDbProcesses(_LIMITS, Slots(_AT_ONCE, _AT_ONCE_PER_TENANT), keep_spare=True),
        )

    def check(self, options: Mapping[str, Json]) -> Mapping[str, Json]:
        """No options: tables are added by uploading them.

        Raises:
            InvalidRequest: there are some.
        """
        if options:
            raise InvalidRequest(f"A connector of files has no option {', '.join(options)}.")
        return {}

    def destination(self, _options: Mapping[str, Json]) -> str:
        """Nowhere: it has no secrets."""
        return ""

    async def probe(self, ctx: TenantContext, draft: ConnectorDraft) -> Sequence[str]:  # noqa: ARG002
        """Nothing to reach: its tables are uploaded afterwards."""
        return ()

    async def retire(self, ctx: TenantContext, config: ConnectorConfig) -> None:
        """Nothing to let go of: it has no secrets."""

    def open(self, ctx: TenantContext, config: ConnectorConfig) -> "FilesSource":
        """The tables of one connector of one tenant; performs no I/O."""
        return FilesSource(ctx, config, self._parts)

    async def forget(self, ctx: TenantContext, config: ConnectorConfig) -> None:
        """Remove the connector's tables with their files."""
        for known in await self._parts.tables.list_tables(ctx, config.connector):
            await self._parts.tables.remove(ctx, config.connector, known.table.name)

    async def close(self) -> None:
        """End the spare process."""
        await self._parts.processes.close()


@dataclass(frozen=True, slots=True)
class _Parts:
    services: ConnectorServices
    files: StoredFiles
    tables: DataTables
    processes: DuckDbProcesses


class FilesSource:
    """The tables of one connector, for one tenant."""

    def __init__(self, ctx: TenantContext, config: ConnectorConfig, parts: _Parts) -> None:
        self._ctx = ctx
        self._config = config
        self._parts = parts

    async def describe(self, *, refresh: bool = False) -> Sequence[Table]:  # noqa: ARG002  # never remembered
        """The connector's tables, by name; a query is likely to follow, so a process is warmed."""
        tables = await self._tables()
        self._parts.processes.warm()
        return [known.table for known in tables]

    async def query(self, sql: str, limits: QueryLimits) -> QueryResult:
        """Run one read-only statement over the connector's tables.

        Raises:
            QueryRefused: it reaches outside them; recorded.
            QueryFailed: DuckDB rejected it, or a file is gone.
            QueryTimeout: it took longer than `limits.timeout_s`, waiting included.
            BoundaryCrossed: a file is not the one that its row speaks of; recorded.
        """
        tables: dict[Relation, DataTable] = {
            (known.table.name,): known for known in await self._tables()
        }
        scope = Scope("duckdb", tables.keys(), limits.max_rows + 1)
        services = self._parts.services
        approved = await admit(
            self._ctx, services.audit, services.reading, self._config, sql, scope
        )
        used = [tables[relation] for relation in sorted(approved.relations)]
        return await self._run(approved, used, limits)

    async def test(self) -> None:
        """Open every file and every table once.

        Raises:
            QueryFailed: a file is missing or cannot be read.
            BoundaryCrossed: a file is not the one that its row speaks of; recorded.
        """
        tables = await self._tables()
        await self._run(Approved("SELECT 1 AS ok", frozenset()), tables, QueryLimits())

    async def _tables(self) -> list[DataTable]:
        return await self._parts.tables.list_tables(self._ctx, self._config.connector)

    async def _run(
        self, approved: Approved, used: Sequence[DataTable], limits: QueryLimits
    ) -> QueryResult:
        clock = self._parts.services.clock
        started = clock.monotonic()
        digests = [known.stored_sha256 for known in used]
        names = [known.table.name for known in used]
        collected = Collected(limits)
        try:
            async with (
                asyncio.timeout(limits.timeout_s),
                off_loop(self._parts.files.opened(self._ctx.tenant, digests)) as descriptors,
                self._parts.processes.lend(self._ctx) as process,
            ):
                process.send(
                    Job({"op": "query", "sql": approved.sql, "tables": names}, descriptors)
                )
                async with aclosing(answers(process, limits.max_bytes)) as found:
                    async for answer in found:
                        if not _take(collected, answer):
                            break
        except TimeoutError as error:
            raise QueryTimeout(
                f"The query took longer than {limits.timeout_s:g} seconds and was stopped."
            ) from error
        except LineTooLong as error:
            _cut(collected, error)
        except Unfit as error:
            raise await self._unfit(error, used[error.place]) from error
        duration_ms = int((clock.monotonic() - started) * 1000)
        return collected.result(approved.sql, duration_ms)

    async def _unfit(self, error: Unfit, known: DataTable) -> TenantryError:
        name = known.table.name
        await self._parts.services.audit.record(
            self._ctx.event(
                "file.refused",
                "refused",
                "connector",
                f"{self._config.connector}/{name}",
                {"connector": self._config.name, "table": name, "defect": error.defect},
            )
        )
        if error.defect == "missing":
            return QueryFailed(f"The file of the table {name} is missing; upload it again.")
        return BoundaryCrossed(f"The file of the table {name} is not the one that was uploaded.")


def _take(collected: Collected, answer: Json) -> bool:
    """Add an answer of the process; False when no further one fits."""
    if isinstance(answer, dict):
        collected.name(list(map(str, answer["columns"])))
        return True
    if not isinstance(answer, list) or len(answer) != len(collected.columns):
        raise QueryFailed("The process that ran the query sent something else than rows.")
    return collected.take(answer)


def _cut(collected: Collected, error: LineTooLong) -> None:
    """Note that the next row alone is larger than all may be."""
    if not collected.columns:
        raise QueryFailed("The names of the columns are too long.") from error
    collected.cut()
