"""What a MySQL or MariaDB database holds: tables, columns, comments, keys, some values (CON-2).

Only what the login may see appears: the server's catalogue leaves the rest out.
"""

from collections.abc import Mapping, Sequence

from tenantry.connectors.database_tables import FoundColumn, FoundTable, by_column, reference, texts
from tenantry.connectors.mysql_driver import MySQLConnection

_MOST_TABLES = 10_000
_SAMPLED_ROWS = 50


async def find(connection: MySQLConnection, database: str) -> list[FoundTable]:
    """Tables and views of `database` that the login may see, by name.

    Raises:
        QueryFailed: the server does not tell.
    """
    own = literal(database)
    tables = await connection.all("tables", database=own, most=str(_MOST_TABLES))
    columns = await connection.all("columns", database=own)
    targets = {
        (table, column): reference(database, there)
        for table, column, *there in texts(await connection.all("references", database=own))
    }
    by_table: dict[str, list[FoundColumn]] = {}
    for table, name, kind, comment, key in texts(columns):
        target = targets.get((table, name), "")
        found = FoundColumn(name, kind, comment, key == "PRI", target)
        by_table.setdefault(table, []).append(found)
    return [
        FoundTable(
            database,
            name,
            _comment(kind, comment),
            int(rows or -1),
            tuple(by_table.get(name, ())),
            is_stored=bool(rows),
        )
        for name, kind, rows, comment in texts(tables)
    ]


async def values(
    connection: MySQLConnection, database: str, table: str, columns: Sequence[str]
) -> Mapping[str, Sequence[str]]:
    """Some values of each column, as texts, each once, in the order of their first rows.

    Raises:
        QueryFailed: the table cannot be read.
    """
    rows = await connection.all(
        "sample",
        columns=", ".join(map(quoted, columns)),
        table=f"{quoted(database)}.{quoted(table)}",
        most=str(_SAMPLED_ROWS),
    )
    return by_column(columns, rows)


def quoted(name: str) -> str:
    """A name as the server reads it, whatever it consists of."""
    return f"`{name.replace('`', '``')}`"


def literal(text: str) -> str:
    """A text as the server reads it, whatever it consists of."""
    return f"_utf8mb4 x'{text.encode().hex()}'"


def _comment(kind: str, comment: str) -> str:
    return "" if kind == "VIEW" and comment == "VIEW" else comment
