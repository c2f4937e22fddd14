"""A database as a model is told of it: names, types, what they mean, a few values (CON-2)."""

from collections.abc import Mapping, Sequence

from tenantry.connectors.base import Column, Table
from tenantry.connectors.mysql_driver import MySQLConnection
from tenantry.connectors.mysql_options import MySQLOptions
from tenantry.connectors.mysql_schema import FoundColumn, FoundTable, find, values
from tenantry.core.errors import QueryFailed, SourceUnreachable

_SAMPLED_TABLES = 40  # each costs a query; a larger database is described without values
_SHOWN_VALUES, _SHOWN_CHARACTERS = 3, 40
_SAMPLED_TYPES = ("char", "varchar", "enum", "set", "date", "year")


async def describe(connection: MySQLConnection, options: MySQLOptions) -> tuple[Table, ...]:
    """Tables within the access pattern, by name.

    Raises:
        QueryFailed: the server does not tell.
    """
    found = [
        table
        for table in (_within(table, options) for table in await find(connection, options.database))
        if table.columns
    ]
    # Not views: what one costs, or whether it still works, shows only when it is read.
    stored = [table for table in found if table.rows >= 0]
    sampled = stored[:_SAMPLED_TABLES] if options.access.samples else []
    samples = {table.name: await _samples(connection, options.database, table) for table in sampled}
    return tuple(_told(table, samples.get(table.name, {})) for table in found)


def _within(table: FoundTable, options: MySQLOptions) -> FoundTable:
    allowed = options.access.columns(options.database, table.name)
    if allowed is None:
        return table
    columns = tuple(column for column in table.columns if column.name in allowed)
    return FoundTable(table.name, table.comment, table.rows, columns)


async def _samples(
    connection: MySQLConnection, database: str, table: FoundTable
) -> Mapping[str, Sequence[str]]:
    names = [c.name for c in table.columns if c.type.lower().startswith(_SAMPLED_TYPES)]
    try:
        return await values(connection, database, table.name, names) if names else {}
    except SourceUnreachable:
        raise
    except QueryFailed:
        return {}  # one damaged table must not hide the others


def _told(table: FoundTable, samples: Mapping[str, Sequence[str]]) -> Table:
    columns = tuple(
        Column(c.name, c.type, _description(c, samples.get(c.name, ()))) for c in table.columns
    )
    return Table(table.name, columns, table.rows, table.comment)


def _description(column: FoundColumn, samples: Sequence[str]) -> str:
    parts = [column.comment] if column.comment else []
    if column.is_key:
        parts.append("primary key")
    if column.refers_to:
        parts.append(f"refers to {column.refers_to}")
    if samples:
        shown = ", ".join(value[:_SHOWN_CHARACTERS] for value in samples[:_SHOWN_VALUES])
        parts.append(f"for example: {shown}")
    return "; ".join(parts)
