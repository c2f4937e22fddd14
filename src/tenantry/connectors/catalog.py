"""The tenant's connectors, and the kinds they can be of (CON-1).

A kind is found through its entry point and imported when it is first needed: a deployment pays for
the kinds it uses. Adding one needs a file and a line in `pyproject.toml`, here or in a plug-in.
"""

import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from tenantry.connectors.base import Connector, ConnectorConfig, ConnectorServices, Source
from tenantry.core.errors import Conflict, InvalidRequest, NotFound
from tenantry.core.events import Json
from tenantry.core.ids import ConnectorId, new_id
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext

_SQL = load("tenantry.connectors")
_GROUP = "tenantry.connectors"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class ConnectorCatalog:
    """Creates, lists, opens and removes connectors, within one tenant at a time."""

    def __init__(self, services: ConnectorServices) -> None:
        self._services = services
        self._db = services.db
        self._kinds: Mapping[str, EntryPoint] = {e.name: e for e in entry_points(group=_GROUP)}
        self._loaded: dict[str, Connector] = {}

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the kinds that are installed."""
        return tuple(sorted(self._kinds))

    async def create(
        self, ctx: TenantContext, name: str, kind: str, options: Mapping[str, Json] | None = None
    ) -> ConnectorConfig:
        """Add a connector.

        Raises:
            InvalidRequest: the name, the kind or an option is not valid.
            Conflict: the name is taken in this tenant.
        """
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                "A connector's name has up to 63 lower-case letters, digits, hyphens and "
                "underscores, and starts with a letter or a digit."
            )
        stored = self._connector(kind).check(options or {})
        connector_id = new_id()
        try:
            async with self._db.tenant(ctx) as tx:
                row = await tx.row(
                    _SQL["create_connector"],
                    connector_id=connector_id,
                    name=name,
                    kind=kind,
                    options=Jsonb(dict(stored)),
                    credential_version=0,
                )
                await self._record(ctx, "connector.created", connector_id, kind)
        except Conflict as error:
            raise Conflict("There is a connector of this name.") from error
        return _config(row)

    async def list_connectors(
        self, ctx: TenantContext, after: UUID, limit: int
    ) -> list[ConnectorConfig]:
        """Connectors with ids after `after`, oldest first."""
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(_SQL["list_connectors"], after=after, limit=limit)
        return [_config(row) for row in rows]

    async def get(self, ctx: TenantContext, connector: UUID) -> ConnectorConfig:
        """One connector.

        Raises:
            NotFound: no such connector in this tenant.
        """
        async with self._db.tenant(ctx) as tx:
            return _config(await tx.row(_SQL["get_connector"], connector_id=connector))

    async def find(self, ctx: TenantContext, name: str) -> ConnectorConfig:
        """The connector of this name.

        Raises:
            NotFound: no such connector in this tenant.
        """
        if not _NAME.fullmatch(name):
            raise NotFound  # models make names up; not all of them are texts that can be stored
        async with self._db.tenant(ctx) as tx:
            return _config(await tx.row(_SQL["find_connector"], name=name))

    async def open(self, ctx: TenantContext, name: str) -> Source:
        """The tables of the connector of this name, bound to the tenant.

        Raises:
            NotFound: no such connector in this tenant.
            InvalidRequest: its kind has no tables, or is not installed any more.
        """
        return self.source(ctx, await self.find(ctx, name))

    def source(self, ctx: TenantContext, config: ConnectorConfig) -> Source:
        """The tables of a connector that was just listed; performs no I/O.

        Raises:
            InvalidRequest: its kind has no tables, or is not installed any more.
        """
        opened = self._connector(config.kind).open(ctx, config)
        if not isinstance(opened, Source):
            raise InvalidRequest(f"The connector {config.name} has no tables.")
        return opened

    async def remove(self, ctx: TenantContext, connector: UUID) -> None:
        """Remove a connector with its tables and the verified queries over it.

        Raises:
            NotFound: no such connector in this tenant.
        """
        config = await self.get(ctx, connector)
        await self._connector(config.kind).forget(ctx, config)
        async with self._db.tenant(ctx) as tx:
            if await tx.execute(_SQL["delete_connector"], connector_id=connector) == 0:
                raise NotFound
            await self._record(ctx, "connector.removed", connector, config.kind)

    async def close(self) -> None:
        """Let go of everything that the kinds hold."""
        for connector in self._loaded.values():
            await connector.close()
        self._loaded.clear()

    def _connector(self, kind: str) -> Connector:
        if kind not in self._loaded:
            if kind not in self._kinds:
                raise InvalidRequest(
                    f"There is no kind of connector {kind[:40]!r}. Known: {', '.join(self.kinds)}."
                )
            self._loaded[kind] = self._kinds[kind].load()(self._services)
        return self._loaded[kind]

    async def _record(self, ctx: TenantContext, action: str, target: UUID, kind: str) -> None:
        # Inside the transaction: a change that cannot be recorded does not happen.
        await self._services.audit.record(
            ctx.event(action, "allowed", "connector", str(target), {"kind": kind})
        )


def _config(row: Mapping[str, Any] | None) -> ConnectorConfig:
    if row is None:
        raise NotFound
    return ConnectorConfig(
        connector=ConnectorId(row["connector_id"]),
        name=row["name"],
        kind=row["kind"],
        options=row["options"],
        created_at=row["created_at"],
        credential_version=row["credential_version"],
    )
