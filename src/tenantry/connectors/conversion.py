"""Turns an uploaded table into the Parquet file that is kept, in a confined process."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tenantry.connectors.csv_text import TableContent, check_names
from tenantry.connectors.duckdb_process import DuckDbProcesses, Job, LineTooLong, answers
from tenantry.connectors.slots import Slots
from tenantry.connectors.stored_files import Incoming, StoredFiles
from tenantry.core.errors import DocumentUnreadable, QueryFailed
from tenantry.core.events import Json
from tenantry.core.off_loop import off_loop
from tenantry.core.sandbox import Limits
from tenantry.isolation.context import TenantContext

_LONGEST_TYPE = 200
_MEMORY_BYTES = 1024 * 1024 * 1024
_ANSWER_BYTES = 4 * 1024 * 1024
_GROWTH = 4  # a Parquet file of ours is smaller than what it is made of, but for tiny ones
_SMALLEST_BYTES = 1024 * 1024
_AT_ONCE, _AT_ONCE_PER_TENANT = 2, 1


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written: names and types of the columns, in order, and the number of rows."""

    columns: tuple[tuple[str, str], ...]
    rows: int


class Converter:
    """Converts uploads, each in a process of its own."""

    def __init__(self, files: StoredFiles, max_bytes: int, within_s: int) -> None:
        self._files = files
        self._within_s = within_s
        largest_bytes = max(_GROWTH * max_bytes, _SMALLEST_BYTES)
        limits = Limits(_MEMORY_BYTES, 2, 2 * within_s, largest_bytes)
        slots = Slots(_AT_ONCE, _AT_ONCE_PER_TENANT)
        self._processes = DuckDbProcesses(limits, slots, keep_spare=False)

    async def convert(
        self, ctx: TenantContext, content: TableContent, target: Incoming
    ) -> Converted:
        """Write `content` to `target` as Parquet.

        Raises:
            DocumentUnreadable: it cannot be read, and why.
            StoreUnavailable: there is no process or disk space just now.
        """
        work: dict[str, Json] = {"op": "convert"}
        if content.delimiter:
            work["csv"] = {"delimiter": content.delimiter, "names": content.names}
        async with off_loop(self._files.incoming(ctx.tenant, content.content)) as source:
            job = Job(work, [source.descriptor, target.descriptor])
            try:
                async with asyncio.timeout(self._within_s), self._processes.lend(ctx) as process:
                    process.send(job)
                    found = [answer async for answer in answers(process, _ANSWER_BYTES)]
            except QueryFailed as error:
                raise DocumentUnreadable(f"The file could not be read. {error.message}") from error
            except (TimeoutError, LineTooLong) as error:
                raise DocumentUnreadable("The file takes too long to read.") from error
        return _converted(found)

    async def close(self) -> None:
        """Let go of everything."""
        await self._processes.close()


def _converted(answers: Sequence[Any]) -> Converted:
    try:
        (answer,) = answers
        columns = tuple((str(name), str(kind)[:_LONGEST_TYPE]) for name, kind in answer["columns"])
        rows = int(answer["rows"])
    except (ValueError, TypeError, KeyError) as error:
        raise DocumentUnreadable from error  # what the process sends is not to be trusted either
    check_names([name for name, _ in columns])
    return Converted(columns, rows)
