"""The tables of a MySQL or MariaDB connector, as a model is told of them (CON-2)."""

from collections.abc import Mapping, Sequence

from tenantry.connectors.database_source import Tables
from tenantry.connectors.database_tables import FoundTable, samples, told
from tenantry.connectors.mysql_driver import MySQLConnection
from tenantry.connectors.mysql_options import MySQLOptions
from tenantry.connectors.mysql_schema import find, values

_SAMPLED_TYPES = ("char", "varchar", "enum", "set", "date", "year")


async def describe(connection: MySQLConnection, options: MySQLOptions) -> Tables:
    """Tables within the access pattern, by name.

    Raises:
        QueryFailed: the server does not tell.
    """
    database = options.database
    within = [
        table.within(options.access.columns(database, table.name))
        for table in await find(connection, database)
    ]
    found = [table for table in within if table.columns]

    async def look(table: FoundTable, columns: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return await values(connection, database, table.name, columns)

    sampled = await samples(found, _SAMPLED_TYPES, look) if options.access.samples else {}
    return {t.relation: told(t.name, t, sampled.get(t.relation, {})) for t in found}
