"""Rotation of the keys, while everything runs, and their destruction; one tenant at a time.

Two keys rotate. A new key-encryption key re-wraps data keys and touches no secret (`rewrap`). A
new data key re-seals secrets (`reseal`, or `renew` when one is due). Both replace a row only if it
still is what was read, so that whoever writes meanwhile wins, and a destroyed key stays destroyed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from tenantry.core.clock import Clock
from tenantry.core.errors import SecretUnreadable
from tenantry.core.events import AuditSink, Json
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database
from tenantry.security.vault.data_keys import DataKeys, StoredKey
from tenantry.security.vault.envelope import DataKey, SecretOwner, SecretPlace
from tenantry.security.vault.keys import KeyBinding, KeyEncryption

_SQL = load("tenantry.security.vault")
_PAGE = 100
_BEFORE_ALL: Mapping[str, object] = MappingProxyType(
    {"kind": "", "owner": UUID(int=0), "version": 0, "place": 0}
)


@dataclass(frozen=True, slots=True)
class Moved:
    """How many data keys or sealed fields a rotation changed, and how many it could not open."""

    changed: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class WrappedBy:
    """A tenant's data keys under one key-encryption key, and the sealed fields under those."""

    by: str
    data_keys: int
    secrets: int
    oldest: datetime


class Rotation:
    """Rotates and destroys one tenant's keys."""

    def __init__(self, db: Database, keys: KeyEncryption, audit: AuditSink, clock: Clock) -> None:
        self._db = db
        self._keys = keys
        self._audit = audit
        self._clock = clock
        self._data_keys = DataKeys(db, keys, clock)

    async def standing(self, ctx: TenantContext) -> list[WrappedBy]:
        """Which keys wrap the tenant's data keys now; more than one while a rotation is due."""
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(_SQL["key_counts"])
        return [
            WrappedBy(r["wrapped_by"], r["data_keys"], int(r["secrets"]), r["oldest"]) for r in rows
        ]

    async def rewrap(self, ctx: TenantContext) -> Moved:
        """Wrap all of the tenant's data keys by the current key-encryption key.

        Idempotent. What does not open is left as it is, counted and recorded.

        Raises:
            VaultUnavailable: the keeper does not answer; what was done so far is done.
        """
        current = await self._keys.current()
        after = changed = unreadable = 0
        while page := await self._wrapped_otherwise(ctx, current, after):
            for stored in page:
                try:
                    changed += await self._rewrap(ctx, stored)
                except SecretUnreadable:
                    unreadable += 1
            after = page[-1].version
        return await self._moved(ctx, "key_encryption_key", Moved(changed, unreadable))

    async def reseal(self, ctx: TenantContext) -> Moved:
        """Make a new data key and move every secret of the tenant to it.

        Raises:
            SecretUnreadable: the new key itself does not open.
            VaultUnavailable: the keeper does not answer; what was done so far is done.
        """
        await self._data_keys.add(ctx)
        return await self.renew(ctx)

    async def renew(self, ctx: TenantContext) -> Moved:
        """Move secrets under older data keys to the newest; make that first if it is due.

        A data key is due after 90 days or 2^32 seals. Idempotent: nothing happens when all is new.

        Raises:
            SecretUnreadable: the newest key itself does not open.
            VaultUnavailable: the keeper does not answer; what was done so far is done.
        """
        if not await self.standing(ctx):
            return Moved(0, 0)
        newest = await self._data_keys.to_seal(ctx, 1)
        after, changed, unreadable = _BEFORE_ALL, 0, 0
        while page := await self._under_older(ctx, newest, after):
            newest = await self._data_keys.to_seal(ctx, len(page))
            for row in page:
                try:
                    changed += await self._reseal(ctx, row, newest)
                except SecretUnreadable:
                    unreadable += 1
            after = _position(page[-1])
        return await self._moved(ctx, "data_key", Moved(changed, unreadable))

    async def destroy(self, ctx: TenantContext) -> int:
        """Destroy all of the tenant's data keys: nothing that was sealed opens again; how many.

        What older backups of the database hold opens as long as the key-encryption key that
        wrapped it exists: rotate that too, and remove the old one (docs/vault.md).
        """
        async with self._db.tenant(ctx) as tx:
            count = await tx.execute(_SQL["destroy_keys"], now=self._clock.now())
            # Inside the transaction: what cannot be recorded does not happen.
            await self._record(ctx, "vault.destroyed", {"data_keys": count})
        self._data_keys.drop(ctx.tenant)
        return count

    async def _wrapped_otherwise(
        self, ctx: TenantContext, current: str, after: int
    ) -> list[StoredKey]:
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(
                _SQL["keys_wrapped_otherwise"], current=current, after=after, page=_PAGE
            )
        return [StoredKey.of_row(row) for row in rows]

    async def _rewrap(self, ctx: TenantContext, stored: StoredKey) -> int:
        if stored.wrapped is None:
            return 0
        binding = KeyBinding(ctx.tenant, stored.version)
        clear = await self._keys.unwrap(stored.wrapped, binding)
        wrapped = await self._data_keys.wrapped(clear, binding)
        async with self._db.tenant(ctx) as tx:
            return await tx.execute(
                _SQL["replace_wrapping"],
                key_version=stored.version,
                before=stored.wrapped.blob,
                wrapped=wrapped.blob,
                wrapped_by=wrapped.by,
            )

    async def _under_older(
        self, ctx: TenantContext, newest: DataKey, after: Mapping[str, object]
    ) -> list[dict[str, Any]]:
        async with self._db.tenant(ctx) as tx:
            return await tx.rows(
                _SQL["secrets_under_older_keys"], newest=newest.version, page=_PAGE, **after
            )

    async def _reseal(self, ctx: TenantContext, row: Mapping[str, Any], newest: DataKey) -> int:
        owner = SecretOwner(row["owner_kind"], row["owner_id"])
        place = SecretPlace(ctx.tenant, owner, row["field"], row["version"])
        key = await self._data_keys.to_open(ctx, StoredKey.of_row(row))
        sealed = newest.seal(place, key.open(place, row["sealed"]))
        async with self._db.tenant(ctx) as tx:
            return await tx.execute(
                _SQL["replace_sealing"],
                **_position(row),
                before=row["sealed"],
                key_version=newest.version,
                sealed=sealed,
            )

    async def _moved(self, ctx: TenantContext, what: str, moved: Moved) -> Moved:
        if moved.changed:
            await self._record(ctx, "vault.rotated", {"what": what, "changed": moved.changed})
        if moved.unreadable:
            detail: dict[str, Json] = {"what": what, "unreadable": moved.unreadable}
            await self._audit.record(ctx.event("vault.refused", "refused", "vault", "", detail))
        return moved

    async def _record(self, ctx: TenantContext, action: str, detail: Mapping[str, Json]) -> None:
        await self._audit.record(ctx.event(action, "allowed", "vault", "", detail))


def _position(row: Mapping[str, Any]) -> Mapping[str, object]:
    """Where a sealed field stands, by the names that the statements use."""
    return {
        "kind": row["owner_kind"],
        "owner": row["owner_id"],
        "version": row["version"],
        "place": row["place"],
    }
