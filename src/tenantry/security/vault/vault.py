"""The vault: credentials in, sealed; out again only for their own tenant, owner, field and version.

`seal` and `store` are two steps, so that a credential is stored in the transaction of what it
belongs to, and no call to a key service happens inside one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tenantry.core.clock import Clock
from tenantry.core.errors import (
    BoundaryCrossed,
    Conflict,
    InvalidRequest,
    NotFound,
    SecretUnreadable,
)
from tenantry.core.events import AuditSink
from tenantry.core.ids import TenantId
from tenantry.core.secret import Secret
from tenantry.core.storable import is_storable
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tenantry.security.vault.data_keys import DataKeys, StoredKey
from tenantry.security.vault.envelope import SecretOwner, SecretPlace
from tenantry.security.vault.keys import KeyEncryption

_SQL = load("tenantry.security.vault")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_MOST_FIELDS = 32
_MOST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Credential:
    """An opened credential: one version of an owner's secrets, by field."""

    version: int
    fields: Mapping[str, Secret]


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed credential on its way into the database.

    Attributes:
        tenant: whose it is.
        owner: what it belongs to.
        version: one more than the last that was stored.
        key_version: the data key it is under.
        fields: sealed texts, by field.
    """

    tenant: TenantId
    owner: SecretOwner
    version: int
    key_version: int
    fields: Mapping[str, bytes] = field(repr=False)


class Vault:
    """Seals, stores, opens and forgets credentials."""

    def __init__(self, db: Database, keys: KeyEncryption, audit: AuditSink, clock: Clock) -> None:
        self._db = db
        self._audit = audit
        self._data_keys = DataKeys(db, keys, clock)

    async def seal(
        self, ctx: TenantContext, owner: SecretOwner, fields: Mapping[str, Secret]
    ) -> Sealed:
        """The secrets, sealed as the owner's next version; `store` writes it.

        Raises:
            InvalidRequest: no secret, too many or too long, or a name or text that cannot be kept.
            SecretUnreadable: the tenant's data key does not open; recorded.
            VaultUnavailable: the keeper of the keys does not answer.
        """
        _check(fields)
        try:
            key = await self._data_keys.to_seal(ctx, len(fields))
        except SecretUnreadable:
            await self._refused(ctx, owner, "data_key")
            raise SecretUnreadable from None
        async with self._db.tenant(ctx) as tx:
            last = await tx.value(_SQL["last_version"], kind=owner.kind, owner=owner.id)
        version = int(last) + 1
        sealed = {
            name: key.seal(SecretPlace(ctx.tenant, owner, name, version), secret.reveal())
            for name, secret in fields.items()
        }
        return Sealed(ctx.tenant, owner, version, key.version, sealed)

    async def store(self, tx: Transaction, sealed: Sealed) -> None:
        """Write the version in the caller's transaction; of older ones, the last is kept.

        Raises:
            BoundaryCrossed: it was sealed for another tenant than the transaction's; recorded.
            Conflict: another version was stored since, or the keys were destroyed.
        """
        owner = sealed.owner
        if sealed.tenant != tx.ctx.tenant:
            await self._refused(tx.ctx, owner, "tenant")
            raise BoundaryCrossed
        which = {"kind": owner.kind, "owner": owner.id, "version": sealed.version}
        stored = await tx.execute(
            _SQL["add_secrets"],
            **which,
            key_version=sealed.key_version,
            fields=list(sealed.fields),
            sealed=list(sealed.fields.values()),
        )
        if stored != len(sealed.fields):
            raise Conflict("The credential was changed by somebody else meanwhile.")
        await tx.execute(_SQL["prune_versions"], **which)
        # Inside the transaction: a change that cannot be recorded does not happen.
        detail = {"owner": owner.kind, "version": sealed.version, "fields": sorted(sealed.fields)}
        await self._audit.record(
            tx.ctx.event("vault.sealed", "allowed", "vault", str(owner.id), detail)
        )

    async def open(self, ctx: TenantContext, owner: SecretOwner, version: int) -> Credential:
        """One version of the owner's secrets, in the clear: one query, and seldom a key service.

        Raises:
            NotFound: nothing is stored for this owner and version in this tenant.
            SecretUnreadable: a field or its key was moved, changed or destroyed; recorded.
            VaultUnavailable: the keeper of the keys does not answer.
        """
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(
                _SQL["sealed_fields"], kind=owner.kind, owner=owner.id, version=version
            )
        if not rows:
            raise NotFound
        fields = {}
        for row in rows:
            name, reason = row["field"], "data_key" if row["wrapped"] else "destroyed"
            try:
                key = await self._data_keys.to_open(ctx, StoredKey.of_row(row))
                reason = "field"
                text = key.open(SecretPlace(ctx.tenant, owner, name, version), row["sealed"])
            except SecretUnreadable:
                await self._refused(ctx, owner, reason)
                raise SecretUnreadable from None
            fields[name] = Secret(text)
        return Credential(version, fields)

    async def forget(self, tx: Transaction, owner: SecretOwner) -> None:
        """Remove every version of the owner's secrets, in the transaction that removes it."""
        await tx.execute(_SQL["forget_secrets"], kind=owner.kind, owner=owner.id)

    async def _refused(self, ctx: TenantContext, owner: SecretOwner, reason: str) -> None:
        detail = {"owner": owner.kind, "reason": reason}
        await self._audit.record(
            ctx.event("vault.refused", "refused", "vault", str(owner.id), detail)
        )


def _check(fields: Mapping[str, Secret]) -> None:
    if not 1 <= len(fields) <= _MOST_FIELDS:
        raise InvalidRequest(f"A credential has 1 to {_MOST_FIELDS} secrets.")
    for name, secret in fields.items():
        if not _FIELD.fullmatch(name):
            raise InvalidRequest("A secret's name has lower-case letters, digits and underscores.")
        text = secret.reveal()
        if not is_storable(text) or len(text.encode()) > _MOST_BYTES:
            raise InvalidRequest(f"The secret '{name}' is too long, or not plain text.")
