"""What a PostgreSQL database holds, as a model is told of it (CON-2).

Only what the login may read appears: tables, partitioned tables, views, materialised views.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tenantry.connectors.database_source import Tables
from tenantry.connectors.database_tables import (
    FoundColumn,
    FoundTable,
    by_column,
    reference,
    samples,
    texts,
    told,
)
from tenantry.connectors.postgres_driver import PostgresConnection
from tenantry.connectors.postgres_options import USUAL_SCHEMA, PostgresOptions

_MOST_TABLES = 10_000
_SAMPLED_ROWS, _SAMPLED_CHARACTERS = 50, 40
_SAMPLED_TYPES = ("character", "text", "date")
_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")


async def describe(connection: PostgresConnection, options: PostgresOptions) -> Tables:
    """Tables within the access pattern, by name; told without their schema where that is clear.

    Raises:
        QueryFailed: the server does not tell.
    """
    access = options.access
    within = [
        table.within(access.columns(table.schema, table.name, USUAL_SCHEMA))
        for table in await find(connection, options.schemas())
    ]
    found = [table for table in within if table.columns]

    async def look(table: FoundTable, columns: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return await values(connection, table, columns)

    sampled = await samples(found, _SAMPLED_TYPES, look) if access.samples else {}
    times = Counter(table.name for table in found)
    return {
        t.relation: told(_named(t, times[t.name]), t, sampled.get(t.relation, {})) for t in found
    }


async def find(connection: PostgresConnection, schemas: Sequence[str]) -> list[FoundTable]:
    """Tables and views of `schemas` that the login may read, by schema and name.

    Raises:
        QueryFailed: the server does not tell.
    """
    own = array(schemas)
    tables = await connection.all("tables", own, str(_MOST_TABLES))
    columns = await connection.all("columns", own)
    targets = {
        (schema, table, column): reference(schema, there)
        for schema, table, column, *there in texts(await connection.all("references", own))
    }
    by_table: dict[tuple[str, str], list[FoundColumn]] = {}
    for schema, table, name, kind, comment, key in texts(columns):
        target = targets.get((schema, table, name), "")
        found = FoundColumn(name, kind, _spelt(name, comment), key == "t", target)
        by_table.setdefault((schema, table), []).append(found)
    return [
        FoundTable(
            schema,
            name,
            _spelt(name, comment),
            -1 if kind == "v" else int(rows),
            tuple(by_table.get((schema, name), ())),
            is_stored=kind != "v",
        )
        for schema, name, kind, rows, comment in texts(tables)
    ]


async def values(
    connection: PostgresConnection, table: FoundTable, columns: Sequence[str]
) -> Mapping[str, Sequence[str]]:
    """Some values of each column, as texts, each once, in the order of their first rows.

    Raises:
        QueryFailed: the table cannot be read.
    """
    shortened = (
        f"pg_catalog.left({quoted(name)}::pg_catalog.text, {_SAMPLED_CHARACTERS})"
        for name in columns
    )
    rows = await connection.all(
        "sample",
        columns=", ".join(shortened),
        table=f"{quoted(table.schema)}.{quoted(table.name)}",
        most=str(_SAMPLED_ROWS),
    )
    return by_column(columns, rows)


def quoted(name: str) -> str:
    """A name as the server reads it, whatever it consists of."""
    return '"{}"'.format(name.replace('"', '""'))


def array(texts: Iterable[str]) -> str:
    """Texts as the server reads an array of them, whatever they consist of."""
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in escaped) + "}"


def _named(table: FoundTable, times: int) -> str:
    return table.name if times == 1 else f"{table.schema}.{table.name}"


def _spelt(name: str, comment: str) -> str:
    """The comment, with how to write a name that SQL would otherwise read in lower case."""
    if _PLAIN.fullmatch(name):
        return comment
    return "; ".join(part for part in (comment, f"write it as {quoted(name)}") if part)
