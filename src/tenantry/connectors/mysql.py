"""Connector kind `mysql`: a tenant's own MySQL or MariaDB database (CON-1, CON-2, CON-4).

Threat: a host name that leads into the operator's network, a login that may do harm, a password
that is seen.
Invariant: every address is checked by the egress guard before a connection goes to it; a connector
is stored only after its login was looked at; the password leaves the vault for the login alone.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from types import MappingProxyType
from typing import ClassVar

from tenantry.connectors.base import (
    ConnectorConfig,
    ConnectorDraft,
    ConnectorServices,
    Table,
)
from tenantry.connectors.mysql_driver import Deadlines, MySQLConnection
from tenantry.connectors.mysql_handshake import Endpoint
from tenantry.connectors.mysql_login import judge
from tenantry.connectors.mysql_options import MySQLOptions
from tenantry.connectors.mysql_source import MySQLSource, Reach
from tenantry.connectors.mysql_tables import describe
from tenantry.connectors.schema_memory import SchemaMemory
from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json
from tenantry.core.secret import Secret
from tenantry.isolation.context import TenantContext
from tenantry.pools.base import Dial, Identity, PoolKey
from tenantry.security.vault.envelope import SecretOwner

_DEADLINES = Deadlines()
_PASSWORD = "password"  # noqa: S105  # the name of the field
_TLS_WARNINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "require": ("Whoever answers is believed to be the server: set tls to verify-full.",),
        "disable": ("The connection is not encrypted: set tls to verify-full.",),
    }
)


class MySQLConnector:
    """Opens connectors of MySQL and MariaDB databases."""

    kind: ClassVar[str] = "mysql"
    secret_fields: ClassVar[frozenset[str]] = frozenset({_PASSWORD})

    def __init__(self, services: ConnectorServices) -> None:
        self._services = services
        self._memory = SchemaMemory(services.clock)

    def check(self, options: Mapping[str, Json]) -> Mapping[str, Json]:
        """The options as they are to be stored.

        Raises:
            InvalidRequest: one is missing, unknown or wrong; the message says which.
        """
        return MySQLOptions.read(options).stored()

    def destination(self, options: Mapping[str, Json]) -> str:
        """Host, port and what is asked of its certificate: the password goes nowhere else."""
        read = MySQLOptions.read(options)
        return f"{read.host}:{read.port} {read.tls} {read.tls_ca}"

    async def probe(self, ctx: TenantContext, draft: ConnectorDraft) -> Sequence[str]:
        """Log in once and look at what the login may do.

        Raises:
            InvalidRequest: the password is missing, or the login may do what it must not.
            EgressRefused: the host may not be reached.
            QueryFailed: the server does not answer, or refuses the login, and why.
        """
        password = draft.secrets.get(_PASSWORD)
        if password is None:
            raise InvalidRequest("The secret password is missing.")
        options = MySQLOptions.read(draft.options)
        connection = await self._connect(ctx, options, password)
        try:
            return await _looked_at(connection, options)
        finally:
            await connection.close()

    def open(self, ctx: TenantContext, config: ConnectorConfig) -> MySQLSource:
        """The tables of one connector of one tenant; performs no I/O."""
        options = MySQLOptions.read(config.options)

        @asynccontextmanager
        async def lease() -> AsyncGenerator[MySQLConnection, None]:
            dial = await self._dial(ctx, config, options)
            async with self._services.pools.lease(ctx, dial) as connection:
                yield connection

        async def tables(refresh: bool) -> Sequence[Table]:
            async def look() -> Sequence[Table]:
                async with lease() as connection:
                    return await describe(connection, options)

            return await self._memory.tables(ctx, config, look, refresh=refresh)

        return MySQLSource(ctx, config, self._services, Reach(lease, tables))

    async def retire(self, ctx: TenantContext, config: ConnectorConfig) -> None:
        """Let go of connections made with earlier secrets, and of what is remembered."""
        self._memory.forget(ctx, config.connector)
        await self._services.pools.retire(
            ctx.tenant, config.connector, older_than=config.credential_version
        )

    async def forget(self, ctx: TenantContext, config: ConnectorConfig) -> None:
        """Let go of every connection, and of what is remembered."""
        self._memory.forget(ctx, config.connector)
        await self._services.pools.retire(ctx.tenant, config.connector)

    async def close(self) -> None:
        """Nothing to let go of: the pools are the platform's."""

    async def _dial(
        self, ctx: TenantContext, config: ConnectorConfig, options: MySQLOptions
    ) -> Dial[MySQLConnection]:
        async def connect() -> MySQLConnection:
            return await self._connect(ctx, options, await self._password(ctx, config))

        share: tuple[str, ...] = ()
        if options.level == "shared":
            digest = sha256((await self._password(ctx, config)).reveal().encode()).hexdigest()
            share = (self.kind, self.destination(config.options), options.database)
            share += (options.user, digest)
        key = PoolKey(ctx.tenant, config.connector, config.credential_version)
        expected = Identity(options.user, options.database)
        return Dial(key, options.level, expected, connect, share)

    async def _password(self, ctx: TenantContext, config: ConnectorConfig) -> Secret:
        owner = SecretOwner("connector", config.connector)
        opened = await self._services.vault.open(ctx, owner, config.credential_version)
        return opened.fields[_PASSWORD]

    async def _connect(
        self, ctx: TenantContext, options: MySQLOptions, password: Secret
    ) -> MySQLConnection:
        addresses = await self._services.egress.resolve(ctx, "mysql", options.host, options.port)
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


async def _looked_at(connection: MySQLConnection, options: MySQLOptions) -> Sequence[str]:
    identity = await connection.identity()
    if identity.database != options.database:
        raise InvalidRequest(f"Spell the database as the server does: {identity.database[:80]}.")
    if identity.user != options.user:
        raise InvalidRequest("The server takes this login for another account's.")
    verdict = judge((row[0] or b"").decode() for row in await connection.all("grants"))
    if verdict.refused:
        raise InvalidRequest(
            f"The login may do what no connector may: {', '.join(verdict.refused)}. "
            "Give the connector a login with SELECT on its database alone."
        )
    warnings = [*verdict.warnings, *_TLS_WARNINGS.get(options.tls, ())]
    if not await describe(connection, options):
        warnings.append("There is no table that the login and the access pattern let it read.")
    return warnings
