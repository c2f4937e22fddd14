"""Who waits, and whose turn is next: one after the other over tenants, in order within one.

A tenant with a thousand waiting gets as many turns as one with a single waiter. A tenant that is
at its own cap is set aside, so that it costs the others nothing, until one of its places is free.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from tenantry.core.ids import TenantId
from tenantry.pools.levels import Owner
from tenantry.pools.ownership import Owned


@dataclass(slots=True, eq=False)
class Waiter:
    """One attempt to get a connection.

    Attributes:
        owner: whose idle connections fit.
        granted: set to such a connection, or to None for a place to dial a new one in.
    """

    tenant: TenantId
    owner: Owner
    granted: "asyncio.Future[Owned | None]"


class Turns:
    """Queues by tenant, and the round in which they are served."""

    def __init__(self) -> None:
        self._queues: dict[TenantId, deque[Waiter]] = {}
        self._round: OrderedDict[TenantId, None] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        """How many wait in all."""
        return self._waiting

    def round(self) -> Iterator[tuple[TenantId, int]]:
        """Tenants that are not set aside, in order of their turns, and how many wait in each."""
        return ((tenant, len(self._queues[tenant])) for tenant in self._round)

    def join(self, waiter: Waiter, *, is_first: bool = False) -> None:
        """Queue up; `is_first`: before all others, for one whose turn had come already."""
        queue = self._queues.setdefault(waiter.tenant, deque())
        self._waiting += 1
        if is_first:
            queue.appendleft(waiter)
        else:
            queue.append(waiter)
        self.resume(waiter.tenant)
        if is_first:
            self._round.move_to_end(waiter.tenant, last=False)

    def leave(self, waiter: Waiter) -> None:
        """Give up waiting; nothing happens if it waits no more."""
        queue = self._queues.get(waiter.tenant, deque())
        if waiter not in queue:
            return
        queue.remove(waiter)
        self._waiting -= 1
        if not queue:
            del self._queues[waiter.tenant]
            self._round.pop(waiter.tenant, None)

    def head(self) -> Waiter | None:
        """Whose turn it is."""
        while self._round:
            waiter = self._queues[next(iter(self._round))][0]
            if not waiter.granted.cancelled():
                return waiter
            self.leave(waiter)  # cancelled just now, and has not run since
        return None

    def fitting(self, owned: Owned) -> Waiter | None:
        """The first waiter of the owner's own tenant that this connection fits."""
        queue = self._queues.get(owned.tenant, ()) if owned.tenant is not None else ()
        fits = (w for w in queue if w.owner == owned.tag and not w.granted.cancelled())
        return next(fits, None)

    def served(self, waiter: Waiter) -> None:
        """Take out a waiter that was served; its tenant's next turn is after all others'."""
        self.leave(waiter)
        if waiter.tenant in self._round:
            self._round.move_to_end(waiter.tenant)

    def set_aside(self, tenant: TenantId) -> None:
        """Leave the tenant out of the round until `resume`."""
        self._round.pop(tenant, None)

    def resume(self, tenant: TenantId) -> None:
        """Let the tenant take part again, after all others, if it waits for something."""
        if tenant in self._queues and tenant not in self._round:
            self._round[tenant] = None

    def drain(self) -> list[Waiter]:
        """Take out everyone, in no particular order."""
        everyone = [waiter for queue in self._queues.values() for waiter in queue]
        self._queues.clear()
        self._round.clear()
        self._waiting = 0
        return everyone
