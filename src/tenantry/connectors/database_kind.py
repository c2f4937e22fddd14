"""What connector kinds of a tenant's own database share (CON-1, CON-2, CON-4).

Threat: a host name that leads into the operator's network, a login that may do harm, a password
that is seen.
Invariant: every address is checked by the egress guard before a connection goes to it; a connector
is stored only after its login was looked at; the password leaves the vault for the login alone.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import ClassVar, Generic, TypeVar

from tenantry.connectors.base import ConnectorConfig, ConnectorDraft, ConnectorServices
from tenantry.connectors.database_options import DatabaseOptions
from tenantry.connectors.database_source import DatabaseSource, Reach, Reading, Tables
from tenantry.connectors.login_verdict import Verdict
from tenantry.connectors.schema_memory import SchemaMemory
from tenantry.connectors.sql_vocabulary import Dialect
from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json
from tenantry.core.secret import Secret
from tenantry.isolation.context import TenantContext
from tenantry.pools.base import Dial, Identity, PoolKey
from tenantry.security.vault.envelope import SecretOwner

_PASSWORD = "password"  # noqa: S105  # the name of the field
O = TypeVar("O", bound=DatabaseOptions)  # noqa: E741  # options
R = TypeVar("R", bound=Reading)


class DatabaseConnector(ABC, Generic[O, R]):
    """Opens connectors of one kind of database."""

    kind: ClassVar[str]
    dialect: ClassVar[Dialect]
    secret_fields: ClassVar[frozenset[str]] = frozenset({_PASSWORD})

    def __init__(self, services: ConnectorServices) -> None:
        self.services = services
        self._memory: SchemaMemory[Tables] = SchemaMemory(services.clock)

    @abstractmethod
    def read(self, options: Mapping[str, Json]) -> O:
        """The options, checked.

        Raises:
            InvalidRequest: one is missing, unknown or wrong; the message says which.
        """

    @abstractmethod
    async def connect(self, ctx: TenantContext, options: O, password: Secret) -> R:
        """A connection to an address that the egress guard let pass.

        Raises:
            EgressRefused: the host may not be reached.
            QueryFailed: the server does not answer, or refuses the login, and why.
        """

    @abstractmethod
    async def tables(self, connection: R, options: O) -> Tables:
        """The tables within the access pattern.

        Raises:
            QueryFailed: the server does not tell.
        """

    @abstractmethod
    async def judged(self, connection: R) -> Verdict:
        """What the login may do.

        Raises:
            QueryFailed: the server does not tell.
        """

    def check(self, options: Mapping[str, Json]) -> Mapping[str, Json]:
        """The options as they are to be stored.

        Raises:
            InvalidRequest: one is missing, unknown or wrong; the message says which.
        """
        return self.read(options).stored()

    def destination(self, options: Mapping[str, Json]) -> str:
        """Host, port and what is asked of its certificate: the password goes nowhere else."""
        return self.read(options).destination()

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
        options = self.read(draft.options)
        connection = await self.connect(ctx, options, password)
        try:
            return await self._looked_at(connection, options)
        finally:
            await connection.close()

    def open(self, ctx: TenantContext, config: ConnectorConfig) -> DatabaseSource:
        """The tables of one connector of one tenant; performs no I/O."""
        options = self.read(config.options)

        @asynccontextmanager
        async def lease() -> AsyncGenerator[R, None]:
            dial = await self._dial(ctx, config, options)
            async with self.services.pools.lease(ctx, dial) as connection:
                yield connection

        async def tables(refresh: bool) -> Tables:
            async def look() -> Tables:
                async with lease() as connection:
                    return await self.tables(connection, options)

            return await self._memory.tables(ctx, config, look, refresh=refresh)

        return DatabaseSource(ctx, config, self.services, Reach(self.dialect, lease, tables))

    async def retire(self, ctx: TenantContext, config: ConnectorConfig) -> None:
        """Let go of connections made with earlier secrets, and of what is remembered."""
        self._memory.forget(ctx, config.connector)
        await self.services.pools.retire(
            ctx.tenant, config.connector, older_than=config.credential_version
        )

    async def forget(self, ctx: TenantContext, config: ConnectorConfig) -> None:
        """Let go of every connection, and of what is remembered."""
        self._memory.forget(ctx, config.connector)
        await self.services.pools.retire(ctx.tenant, config.connector)

    async def close(self) -> None:
        """Nothing to let go of: the pools are the platform's."""

    async def _dial(self, ctx: TenantContext, config: ConnectorConfig, options: O) -> Dial[R]:
        async def connect() -> R:
            return await self.connect(ctx, options, await self._password(ctx, config))

        share: tuple[str, ...] = ()
        if options.level == "shared":
            digest = sha256((await self._password(ctx, config)).reveal().encode()).hexdigest()
            share = (self.kind, options.destination(), options.database, options.user, digest)
        key = PoolKey(ctx.tenant, config.connector, config.credential_version)
        expected = Identity(options.user, options.database)
        return Dial(key, options.level, expected, connect, share)

    async def _password(self, ctx: TenantContext, config: ConnectorConfig) -> Secret:
        owner = SecretOwner("connector", config.connector)
        opened = await self.services.vault.open(ctx, owner, config.credential_version)
        return opened.fields[_PASSWORD]

    async def _looked_at(self, connection: R, options: O) -> Sequence[str]:
        identity = await connection.identity()
        if identity.database != options.database:
            raise InvalidRequest(
                f"Spell the database as the server does: {identity.database[:80]}."
            )
        if identity.user != options.user:
            raise InvalidRequest("The server takes this login for another account's.")
        warnings = [*(await self.judged(connection)).enforce(), *options.warnings()]
        if not await self.tables(connection, options):
            warnings.append("There is no table that the login and the access pattern let it read.")
        return warnings
