"""Data keys in the clear, for five minutes at most: a keeper's call for each use would be slow.

Python cannot promise to overwrite what it drops; the bound on time is what holds.
"""

import asyncio
from dataclasses import dataclass

from tenantry.core.clock import Clock
from tenantry.core.ids import TenantId
from tenantry.security.vault.envelope import DataKey
from tenantry.security.vault.keys import Wrapped

LIFE_S = 300.0


@dataclass(frozen=True, slots=True)
class _Held:
    wrapped: Wrapped
    key: DataKey
    until: float


class KeyCache:
    """Data keys by tenant and version; given out only for the wrapping that they came from.

    So a key that was destroyed, re-wrapped or tampered with in the database is not opened from
    memory: whoever asks has just read the row.
    """

    def __init__(self, clock: Clock, life_s: float = LIFE_S) -> None:
        self._clock = clock
        self._life_s = life_s
        self._held: dict[tuple[TenantId, int], _Held] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"KeyCache({len(self._held)} keys)"

    def __len__(self) -> int:
        return len(self._held)

    def get(self, tenant: TenantId, version: int, wrapped: Wrapped) -> DataKey | None:
        """The key, if it is held, not too old, and was wrapped exactly so."""
        held = self._held.get((tenant, version))
        if held is None or held.wrapped != wrapped or held.until <= self._clock.monotonic():
            return None
        return held.key

    def put(self, tenant: TenantId, key: DataKey, wrapped: Wrapped) -> None:
        """Hold a key that was just unwrapped, or just made."""
        until = self._clock.monotonic() + self._life_s
        self._held[tenant, key.version] = _Held(wrapped, key, until)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._life_s, self._tidy)

    def drop(self, tenant: TenantId) -> None:
        """Let go of a tenant's keys now."""
        for held in [each for each in self._held if each[0] == tenant]:
            del self._held[held]

    def drop_expired(self) -> None:
        """Let go of what is too old; also called by a timer, so that idle keys go as well."""
        now = self._clock.monotonic()
        for held in [each for each, kept in self._held.items() if kept.until <= now]:
            del self._held[held]

    def _tidy(self) -> None:
        self.drop_expired()
        # Keys that were added after this timer was set: until the first of them is due.
        waits = [kept.until - self._clock.monotonic() for kept in self._held.values()]
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(min(waits), 0.01), self._tidy) if waits else None
