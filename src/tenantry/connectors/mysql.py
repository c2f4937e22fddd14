"""Connector kind `mysql`: a tenant's own MySQL or MariaDB database (CON-1, CON-2, CON-4)."""

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from tenantry.connectors.database_kind import DatabaseConnector
from tenantry.connectors.database_source import Deadlines, Tables
from tenantry.connectors.login_verdict import Verdict
from tenantry.connectors.mysql_driver import MySQLConnection
from tenantry.connectors.mysql_handshake import Endpoint
from tenantry.connectors.mysql_login import judge
from tenantry.connectors.mysql_options import MySQLOptions
from tenantry.connectors.mysql_tables import describe
from tenantry.connectors.sql_vocabulary import Dialect
from tenantry.core.events import Json
from tenantry.core.secret import Secret
from tenantry.isolation.context import TenantContext

_DEADLINES = Deadlines()


class MySQLConnector(DatabaseConnector[MySQLOptions, MySQLConnection]):
    """Opens connectors of MySQL and MariaDB databases."""

    kind: ClassVar[str] = "mysql"
    dialect: ClassVar[Dialect] = "mysql"

    def read(self, options: Mapping[str, Json]) -> MySQLOptions:
        """The options, checked.

        Raises:
            InvalidRequest: one is missing, unknown or wrong; the message says which.
        """
        return MySQLOptions.read(options)

    async def connect(
        self, ctx: TenantContext, options: MySQLOptions, password: Secret
    ) -> MySQLConnection:
        """A connection to an address that the egress guard let pass.

        Raises:
            EgressRefused: the host may not be reached.
            QueryFailed: the server does not answer, or refuses the login, and why.
        """
        addresses = await self.services.egress.resolve(ctx, "mysql", options.host, options.port)
        endpoint = Endpoint(
            addresses,
            options.host,
            options.port,
            options.database,
            options.user,
            password,
            await asyncio.to_thread(options.encryption),
        )
        return await MySQLConnection.open(endpoint, _DEADLINES)

    async def tables(self, connection: MySQLConnection, options: MySQLOptions) -> Tables:
        """The tables within the access pattern.

        Raises:
            QueryFailed: the server does not tell.
        """
        return await describe(connection, options)

    async def judged(self, connection: MySQLConnection) -> Verdict:
        """What the login may do.

        Raises:
            QueryFailed: the server does not tell.
        """
        return judge((row[0] or b"").decode() for row in await connection.all("grants"))
