"""Connector kind `postgres`: a tenant's own PostgreSQL database (CON-1, CON-2, CON-4)."""

from collections.abc import Mapping
from typing import ClassVar

from tenantry.connectors.database_kind import DatabaseConnector
from tenantry.connectors.database_source import Deadlines, Tables
from tenantry.connectors.login_verdict import Verdict
from tenantry.connectors.postgres_dial import Endpoint
from tenantry.connectors.postgres_driver import PostgresConnection
from tenantry.connectors.postgres_login import judge
from tenantry.connectors.postgres_options import PostgresOptions
from tenantry.connectors.postgres_schema import describe
from tenantry.connectors.sql_vocabulary import Dialect
from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json
from tenantry.core.secret import Secret
from tenantry.isolation.context import TenantContext

_DEADLINES = Deadlines()


class PostgresConnector(DatabaseConnector[PostgresOptions, PostgresConnection]):
    """Opens connectors of PostgreSQL databases."""

    kind: ClassVar[str] = "postgres"
    dialect: ClassVar[Dialect] = "postgres"

    def read(self, options: Mapping[str, Json]) -> PostgresOptions:
        """The options, checked.

        Raises:
            InvalidRequest: one is missing, unknown or wrong; the message says which.
        """
        return PostgresOptions.read(options)

    async def connect(
        self, ctx: TenantContext, options: PostgresOptions, password: Secret
    ) -> PostgresConnection:
        """A connection to an address that the egress guard let pass.

        Raises:
            InvalidRequest: the password is empty: libpq would look for another.
            EgressRefused: the host may not be reached.
            QueryFailed: the server does not answer, or refuses the login, and why.
        """
        if not password or "\x00" in password.reveal():
            raise InvalidRequest("The secret password is empty, or no text.")
        addresses = await self.services.egress.resolve(ctx, "postgres", options.host, options.port)
        return await PostgresConnection.open(Endpoint(addresses, options, password), _DEADLINES)

    async def tables(self, connection: PostgresConnection, options: PostgresOptions) -> Tables:
        """The tables within the access pattern.

        Raises:
            QueryFailed: the server does not tell.
        """
        return await describe(connection, options)

    async def judged(self, connection: PostgresConnection) -> Verdict:
        """What the login may do.

        Raises:
            QueryFailed: the server does not tell.
        """
        (writes,) = await connection.all("writes")
        return judge(await connection.all("roles"), writes)
