"""The tenant's connectors, and the kinds they can be of (CON-1).

A kind is found through its entry point and imported when it is first needed: a deployment pays for
the kinds it uses. Adding one needs a file and a line in `pyproject.toml`, here or in a plug-in.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from tenantry.connectors.approvals import Approvals
from tenantry.connectors.base import (
    Completing,
    Connector,
    ConnectorConfig,
    ConnectorDraft,
    ConnectorServices,
    OperationSource,
    Source,
)
from tenantry.core.errors import Conflict, InvalidRequest, NotFound
from tenantry.core.events import Json
from tenantry.core.ids import ConnectorId, new_id
from tenantry.core.secret import Secret
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Transaction
from tenantry.security.vault.envelope import SecretOwner
from tenantry.security.vault.vault import Sealed

_SQL = load("tenantry.connectors")
_GROUP = "tenantry.connectors"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class NewConnector:
    """A connector to add.

    Attributes:
        name: unique in the tenant.
        kind: one of `ConnectorCatalog.kinds`.
        options: what the kind asks for, without secrets.
        secrets: by field, in the clear until they are sealed.
    """

    name: str
    kind: str
    options: Mapping[str, Json] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Added:
    """A connector as it is stored now, and what its probe warned of."""

    config: ConnectorConfig
    warnings: Sequence[str]


class ConnectorCatalog:
    """Creates, lists, opens and removes connectors, within one tenant at a time.

    Attributes:
        approvals: calls of theirs that wait for a member.
    """

    def __init__(self, services: ConnectorServices) -> None:
        self._services = services
        self._db = services.db
        self._kinds: Mapping[str, EntryPoint] = {e.name: e for e in entry_points(group=_GROUP)}
        self._loaded: dict[str, Connector] = {}
        self.approvals = Approvals(services.db, services.audit)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the kinds that are installed."""
        return tuple(sorted(self._kinds))

    async def create(self, ctx: TenantContext, new: NewConnector) -> Added:
        """Add a connector, after its source was reached once with the secrets given.

        Raises:
            InvalidRequest: the name, the kind, an option or a secret is not valid, or the source's
                login could do harm.
            EgressRefused: its address may not be reached.
            QueryFailed: the source does not answer, and why.
            Conflict: the name is taken in this tenant.
        """
        if not _NAME.fullmatch(new.name):
            raise InvalidRequest(
                "A connector's name has up to 63 lower-case letters, digits, hyphens and "
                "underscores, and starts with a letter or a digit."
            )
        kind = self._connector(new.kind)
        checked = kind.check(new.options)
        draft = ConnectorDraft(ConnectorId(new_id()), new.name, checked, new.secrets)
        draft, warnings = await self._tried(ctx, kind, draft)
        sealed = await self._seal(ctx, draft)
        try:
            async with self._db.tenant(ctx) as tx:
                row = await tx.row(
                    _SQL["create_connector"],
                    connector_id=draft.connector,
                    name=new.name,
                    kind=new.kind,
                    options=Jsonb(dict(draft.options)),
                    credential_version=sealed.version if sealed else 0,
                )
                await self._store(tx, sealed)
                await self._record(ctx, "connector.created", draft.connector, new.kind)
        except Conflict as error:
            raise Conflict("There is a connector of this name.") from error
        return Added(_config(row), warnings)

    async def change(
        self,
        ctx: TenantContext,
        connector: UUID,
        options: Mapping[str, Json] | None = None,
        secrets: Mapping[str, Secret] | None = None,
    ) -> Added:
        """Give a connector other options, other secrets, or both; what is None stays.

        Connections made with the earlier ones are let go of. Secrets stay with the destination
        they were given for: another one needs them anew.

        Raises:
            NotFound: no such connector in this tenant.
            InvalidRequest, EgressRefused, QueryFailed: as for `create`.
            Conflict: it was changed by somebody else meanwhile.
        """
        old = await self.get(ctx, connector)
        kind = self._connector(old.kind)
        checked = old.options if options is None else kind.check(options)
        kept = secrets is None
        if kept:
            _refuse_elsewhere(kind, old, checked)  # before anything is sent there
            secrets = await self._secrets(ctx, old)
        draft = ConnectorDraft(old.connector, old.name, checked, secrets or {})
        draft, warnings = await self._tried(ctx, kind, draft)
        if kept:
            _refuse_elsewhere(kind, old, draft.options)
        sealed = await self._seal(ctx, draft)
        async with self._db.tenant(ctx) as tx:
            row = await tx.row(
                _SQL["change_connector"],
                connector_id=connector,
                options=Jsonb(dict(draft.options)),
                credential_version=sealed.version if sealed else 0,
                known_version=old.credential_version,
            )
            if row is None:
                raise Conflict("The connector was changed by somebody else meanwhile.")
            await self._store(tx, sealed)
            await self._record(ctx, "connector.changed", connector, old.kind)
        changed = _config(row)
        await kind.retire(ctx, changed)
        return Added(changed, warnings)

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

    def operation_source(self, ctx: TenantContext, config: ConnectorConfig) -> OperationSource:
        """The calls of a connector that was just found; performs no I/O.

        Raises:
            InvalidRequest: its kind has no calls, or is not installed any more.
        """
        opened = self.opened(ctx, config)
        if isinstance(opened, Source):
            raise InvalidRequest(f"The connector {config.name} has tables, no calls.")
        return opened

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
        opened = self.opened(ctx, config)
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
            await self._services.vault.forget(tx, _owner(connector))
            await self._record(ctx, "connector.removed", connector, config.kind)

    async def close(self) -> None:
        """Let go of everything that the kinds hold."""
        for connector in self._loaded.values():
            await connector.close()
        self._loaded.clear()

    def opened(self, ctx: TenantContext, config: ConnectorConfig) -> Source | OperationSource:
        """What a connector offers, tables or calls; performs no I/O.

        Raises:
            InvalidRequest: its kind is not installed any more.
        """
        return self._connector(config.kind).open(ctx, config)

    async def test(self, ctx: TenantContext, connector: UUID) -> None:
        """Check that the source of a connector answers.

        Raises:
            NotFound: no such connector in this tenant.
            QueryFailed: it does not, and why.
        """
        config = await self.get(ctx, connector)
        await self.opened(ctx, config).test()

    async def _tried(
        self, ctx: TenantContext, kind: Connector, draft: ConnectorDraft
    ) -> tuple[ConnectorDraft, Sequence[str]]:
        """The draft with what its options only refer to, and what its probe warned of."""
        if unknown := sorted(draft.secrets.keys() - kind.secret_fields):
            known = ", ".join(sorted(kind.secret_fields)) or "none"
            raise InvalidRequest(f"There is no secret {unknown[0][:40]!r} here. Known: {known}.")
        if isinstance(kind, Completing):
            draft = replace(draft, options=await kind.complete(ctx, draft))
        return draft, await kind.probe(ctx, draft)

    async def _seal(self, ctx: TenantContext, draft: ConnectorDraft) -> Sealed | None:
        if not draft.secrets:
            return None
        return await self._services.vault.seal(ctx, _owner(draft.connector), draft.secrets)

    async def _store(self, tx: Transaction, sealed: Sealed | None) -> None:
        if sealed is not None:
            await self._services.vault.store(tx, sealed)

    async def _secrets(self, ctx: TenantContext, config: ConnectorConfig) -> Mapping[str, Secret]:
        if not config.credential_version:
            return {}
        vault, owner = self._services.vault, _owner(config.connector)
        return (await vault.open(ctx, owner, config.credential_version)).fields

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


def _refuse_elsewhere(kind: Connector, old: ConnectorConfig, options: Mapping[str, Json]) -> None:
    """Refuse to keep secrets for a destination that they were not given for."""
    where = kind.destination(options)
    if old.credential_version and where and where != kind.destination(old.options):
        raise InvalidRequest("Give the secrets again: this is another destination.")


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


def _owner(connector: UUID) -> SecretOwner:
    return SecretOwner("connector", connector)
