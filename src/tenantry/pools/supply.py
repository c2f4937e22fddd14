"""Gives out idle connections and places for new ones: within the caps, in fair turns.

All of it is plain code between two awaits, so nothing needs a lock, and nobody waits here for a
network: dialling and closing happen elsewhere, each inside a place of its own.
"""

import asyncio
from collections.abc import Callable

from tenantry.core.errors import PoolExhausted
from tenantry.core.ids import TenantId
from tenantry.pools.caps import Places
from tenantry.pools.idle import IdleConnections
from tenantry.pools.levels import Owner, SharedOwner
from tenantry.pools.ownership import Owned
from tenantry.pools.turns import Turns, Waiter


class Supply:
    """What there is to give, and to whom it goes next."""

    def __init__(self, total: int, per_tenant: int, evict: Callable[[Owned], object]) -> None:
        """`evict` starts closing an idle connection; `evicted` must be called once it is closed."""
        self.idle = IdleConnections()
        self._places = Places(total, per_tenant)
        self._turns = Turns()
        self._start_closing = evict
        self._making_room = 0
        self._is_closed = False

    @property
    def taken(self) -> int:
        """Connections that count against the total cap."""
        return self._places.taken

    @property
    def waiting(self) -> int:
        """Attempts in the queue."""
        return len(self._turns)

    def take_now(self, tenant: TenantId, owner: Owner) -> tuple[bool, Owned | None]:
        """What can be had without waiting.

        Returns:
            True with an idle connection, or with None for a place to dial in; else False.

        Raises:
            PoolExhausted: the pools are closed.
        """
        if self._is_closed:
            raise PoolExhausted("The platform is ending; no connection is given out any more.")
        owned = self._take_idle(tenant, owner)
        if owned is not None:
            return True, owned
        if self._places.is_full or self._places.is_full_for(tenant) or any(self._turns.round()):
            return False, None
        self._places.take(tenant)
        return True, None

    async def wait(
        self, tenant: TenantId, owner: Owner, deadline: float, *, is_first: bool = False
    ) -> Owned | None:
        """Wait for one's turn; cancelled at any moment, it leaves nothing behind.

        Args:
            tenant: who asks.
            owner: whose idle connections fit.
            deadline: reading of the event loop's clock.
            is_first: one whose turn had come, but what it got was dead.

        Returns:
            An idle connection, or None for a place to dial in.

        Raises:
            PoolExhausted: the deadline passed.
        """
        waiter = Waiter(tenant, owner, asyncio.get_running_loop().create_future())
        self._turns.join(waiter, is_first=is_first)
        self._serve()
        try:
            async with asyncio.timeout_at(deadline):
                try:
                    return await waiter.granted
                except asyncio.CancelledError:
                    self._withdraw(waiter)
                    raise
        except TimeoutError:
            raise PoolExhausted from None

    def shelve(self, owned: Owned) -> None:
        """Keep a connection that is nobody's now, or give it to whoever is next.

        Its tag names its idle owner already.
        """
        if owned.rules.by_login and owned.tenant is not None:
            self._places.count_for_nobody(owned.tenant)
            self._turns.resume(owned.tenant)
            owned.tenant = None
        if owned.is_retired or self._is_closed:
            self._evict(owned)
            return
        self.idle.add(owned)
        self.offer(owned)

    def offer(self, owned: Owned) -> None:
        """An idle connection became available: see who needs it."""
        # What makes no room for others is nobody's turn but its own tenant's.
        waiter = None if owned.rules.makes_room else self._turns.fitting(owned)
        if waiter is not None:
            self.idle.remove(owned)
            self._grant(waiter, owned)
            return
        if owned.tenant is not None:
            self._turns.resume(owned.tenant)
        self._serve()

    def free(self, tenant: TenantId | None) -> None:
        """A connection is closed, or was never made: its place goes to whoever is next."""
        self._places.free(tenant)
        if tenant is not None:
            self._turns.resume(tenant)
        self._serve()

    def evicted(self, owned: Owned) -> None:
        """A connection handed to `evict` is closed now."""
        self._making_room -= 1
        self.free(owned.tenant)

    def close(self) -> None:
        """Give nothing out any more: refuse those who wait, and close what is idle."""
        self._is_closed = True
        for waiter in self._turns.drain():
            if not waiter.granted.done():
                waiter.granted.set_exception(PoolExhausted("The platform is ending."))
        for owned in self.idle:
            self.idle.remove(owned)
            self._evict(owned)

    def _take_idle(self, tenant: TenantId, owner: Owner) -> Owned | None:
        """An idle connection of this owner, counted for the tenant from now on."""
        if not isinstance(owner, SharedOwner):
            return self.idle.take(owner)
        owned = None if self._places.is_full_for(tenant) else self.idle.take(owner)
        if owned is not None:
            self._places.count_for(tenant)
            owned.tenant = tenant
        return owned

    def _serve(self) -> None:
        """Give what there is to those whose turn it is, until it is used up."""
        while (waiter := self._turns.head()) is not None:
            owned = self._take_idle(waiter.tenant, waiter.owner)
            if owned is not None:
                self._grant(waiter, owned)
            elif self._places.is_full_for(waiter.tenant):
                victim = self.idle.evict_of(waiter.tenant)
                if victim is not None:
                    self._evict(victim)
                self._turns.set_aside(waiter.tenant)
            elif not self._places.is_full:
                self._places.take(waiter.tenant)
                self._grant(waiter, None)
            else:
                self._make_room()
                return

    def _make_room(self) -> None:
        """Close as many idle connections as there are attempts that could use the place."""
        while self._making_room < self._wanted(self._making_room + 1):
            victim = self.idle.evict()
            if victim is None:
                return
            self._evict(victim)

    def _wanted(self, limit: int) -> int:
        """Places that those who wait could use under their own caps; counted up to `limit`."""
        wanted = 0
        for tenant, waiting in self._turns.round():
            wanted += min(waiting, self._places.left_for(tenant))
            if wanted >= limit:
                break
        return wanted

    def _evict(self, owned: Owned) -> None:
        self._making_room += 1
        self._start_closing(owned)

    def _grant(self, waiter: Waiter, owned: Owned | None) -> None:
        self._turns.served(waiter)
        waiter.granted.set_result(owned)

    def _withdraw(self, waiter: Waiter) -> None:
        """Undo what a cancelled waiter asked for or was just given."""
        granted = waiter.granted
        if granted.cancelled() or not granted.done():
            self._turns.leave(waiter)
        elif granted.exception() is None:
            owned = granted.result()
            if owned is None:
                self.free(waiter.tenant)
            else:
                self.shelve(owned)
