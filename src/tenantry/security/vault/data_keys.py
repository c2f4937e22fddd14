"""A tenant's data keys: made, counted, unwrapped and held for minutes.

A key's use is counted before it is used, and no call to the keeper happens inside a transaction.
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from weakref import WeakValueDictionary

from tenantry.core.clock import Clock
from tenantry.core.errors import SecretUnreadable, VaultUnavailable
from tenantry.core.ids import TenantId
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database
from tenantry.security.vault.envelope import KEY_BYTES, MOST_SEALS, DataKey
from tenantry.security.vault.key_cache import KeyCache
from tenantry.security.vault.keys import KeyBinding, KeyEncryption, Wrapped

_SQL = load("tenantry.security.vault")
OLDEST = timedelta(days=90)
"""A data key older than this seals nothing more."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A data key as its row tells; `wrapped` is None once it was destroyed."""

    version: int
    wrapped: Wrapped | None

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "StoredKey":
        """From a row with key_version, wrapped and wrapped_by."""
        blob = row["wrapped"]
        wrapped = None if blob is None else Wrapped(bytes(blob), row["wrapped_by"])
        return cls(row["key_version"], wrapped)


class DataKeys:
    """Gives out data keys, for sealing and for opening."""

    def __init__(
        self, db: Database, keys: KeyEncryption, clock: Clock, most_seals: int = MOST_SEALS
    ) -> None:
        self._db = db
        self._keys = keys
        self._clock = clock
        self._most = most_seals
        self._cache = KeyCache(clock)
        self._turns: WeakValueDictionary[tuple[TenantId, int], asyncio.Lock] = WeakValueDictionary()

    async def to_seal(self, ctx: TenantContext, amount: int) -> DataKey:
        """The newest key, for `amount` seals; a new one when that is old, used up or destroyed.

        Raises:
            SecretUnreadable: the stored key does not open here.
            VaultUnavailable: the keeper does not answer.
        """
        while True:
            async with self._db.tenant(ctx) as tx:
                # Read first: a key added by somebody else after this makes ours a duplicate.
                following = int(await tx.value(_SQL["next_key_version"]))
                row = await tx.row(
                    _SQL["reserve_seals"],
                    amount=amount,
                    oldest=self._clock.now() - OLDEST,
                    most=self._most,
                )
            if row is not None:
                return await self.to_open(ctx, StoredKey.of_row(row))
            await self._add(ctx, following)

    async def to_open(self, ctx: TenantContext, stored: StoredKey) -> DataKey:
        """The key of a row that was just read.

        Raises:
            SecretUnreadable: it was destroyed, is another tenant's, was changed, or was wrapped by
                a key that is not here.
            VaultUnavailable: the keeper does not answer.
        """
        if stored.wrapped is None:
            raise SecretUnreadable
        found = self._cache.get(ctx.tenant, stored.version, stored.wrapped)
        if found is not None:
            return found
        turn = self._turns.setdefault((ctx.tenant, stored.version), asyncio.Lock())
        async with turn:  # of many that ask at once, one calls the keeper
            found = self._cache.get(ctx.tenant, stored.version, stored.wrapped)
            if found is None:
                binding = KeyBinding(ctx.tenant, stored.version)
                clear = await self._keys.unwrap(stored.wrapped, binding)
                found = DataKey(stored.version, clear)
                self._cache.put(ctx.tenant, found, stored.wrapped)
        return found

    async def add(self, ctx: TenantContext) -> None:
        """Make the tenant's next key; when another process was quicker, its key counts.

        Raises:
            VaultUnavailable: the keeper does not answer, or does not give back what it was given.
        """
        async with self._db.tenant(ctx) as tx:
            version = int(await tx.value(_SQL["next_key_version"]))
        await self._add(ctx, version)

    async def _add(self, ctx: TenantContext, version: int) -> None:
        binding = KeyBinding(ctx.tenant, version)
        wrapped = await self.wrapped(secrets.token_bytes(KEY_BYTES), binding)
        async with self._db.tenant(ctx) as tx:
            await tx.execute(
                _SQL["add_key"],
                key_version=version,
                wrapped=wrapped.blob,
                wrapped_by=wrapped.by,
                now=self._clock.now(),
            )

    async def wrapped(self, key: bytes, binding: KeyBinding) -> Wrapped:
        """The key, wrapped by the current key-encryption key and unwrapped again to be sure.

        Raises:
            VaultUnavailable: the keeper does not answer, or does not give back what it was given.
        """
        wrapped = await self._keys.wrap(key, binding)
        try:
            again = await self._keys.unwrap(wrapped, binding)
        except SecretUnreadable:
            again = b""
        if not secrets.compare_digest(again, key):
            raise VaultUnavailable("The keeper of the encryption keys does not keep them.")
        return wrapped

    def drop(self, tenant: TenantId) -> None:
        """Let go of a tenant's keys that are held in the clear."""
        self._cache.drop(tenant)
