"""Upkeep of idle connections: none too old, none idle for too long, none dead for long."""

import asyncio
from collections.abc import Callable

from tenantry.core.clock import Clock
from tenantry.core.errors import QueryFailed
from tenantry.pools.base import PoolCaps
from tenantry.pools.figures import Reason
from tenantry.pools.ownership import Owned
from tenantry.pools.supply import Supply

ROUND_S = 5.0
CHECK_AFTER_S = 30.0
"""An idle connection is pinged when nothing was heard of its server for this long."""
_PING_S = 5.0
_AT_ONCE = 16


class Upkeep:
    """Looks after what nobody uses just now."""

    def __init__(
        self,
        caps: PoolCaps,
        clock: Clock,
        supply: Supply,
        close: Callable[[Owned, Reason], object],
    ) -> None:
        self._caps = caps
        self._clock = clock
        self._supply = supply
        self._close = close
        self._places = asyncio.Semaphore(_AT_ONCE)

    def is_too_old(self, owned: Owned) -> bool:
        """Whether a connection has lived its life."""
        return self._clock.monotonic() - owned.made_at >= self._caps.max_lifetime_s

    async def run(self) -> None:
        """A round every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(min(ROUND_S, self._caps.idle_s))
            await self.round()

    async def round(self) -> None:
        """Close what idled or lived too long; see whether the others' servers still answer."""
        now = self._clock.monotonic()
        for owned in self._supply.idle.remove_where(
            lambda o: now - o.idle_since >= self._caps.idle_s or self.is_too_old(o)
        ):
            self._close(owned, "expired")
        async with asyncio.TaskGroup() as group:
            for owned in self._supply.idle:
                if now - owned.heard_at >= CHECK_AFTER_S:
                    group.create_task(self._check(owned))

    async def _check(self, owned: Owned) -> None:
        """Ping one idle connection; it keeps its place in the order of use."""
        async with self._places:
            if owned not in self._supply.idle:
                return
            owned.is_checked = True
            is_alive = False
            try:
                async with asyncio.timeout(_PING_S):
                    await owned.connection.ping()
                is_alive = True
            except (QueryFailed, OSError):
                is_alive = False
            finally:
                owned.is_checked = False
                self._conclude(owned, is_alive=is_alive)

    def _conclude(self, owned: Owned, *, is_alive: bool) -> None:
        if owned not in self._supply.idle:
            return
        if is_alive and not owned.is_retired:
            owned.heard_at = self._clock.monotonic()
            self._supply.offer(owned)
            return
        self._supply.idle.remove(owned)
        self._close(owned, "retired" if owned.is_retired else "lost")
