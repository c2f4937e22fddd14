"""Who waited, why and how long, and what each tenant got beside its fair share.

Figures of this process since it started; tenants that were idle longest are dropped first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nlargest

from tenantry.core.ids import TenantId
from tenantry.fairness.capacity import Capacity
from tenantry.fairness.pool import Pool
from tenantry.fairness.turns import Place


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool as it stands.

    Attributes:
        pool: name of the account.
        owner: the tenant whose own it is; None for the platform's.
        slots: calls at once, now.
        headroom: of those, kept for tenants below their share.
        running: slots taken.
        waiting: calls that wait.
        tenants: tenants that wait or run.
    """

    pool: str
    owner: TenantId | None
    slots: int
    headroom: int
    running: int
    waiting: int
    tenants: int


@dataclass(frozen=True, slots=True)
class TurnsView:
    """What a tenant got at a pool.

    Attributes:
        tenant: whose.
        pool: name of the account.
        is_own: whether the account is the tenant's own.
        weight: its weight.
        running: slots it holds.
        waiting: calls of it that wait.
        calls: calls that got their turn.
        waited: of those, how many had to wait.
        wait_s: how long those waited on average.
        longest_s: the longest wait.
        refused_full: calls refused because too much of it waited.
        refused_late: calls refused because their turn would come, or came, too late.
        served: units that its ended calls used.
        fair_share: units that were its share of what was served while it wanted any; more than
            `served` says that it wanted less, not that it was kept waiting.
    """

    tenant: TenantId
    pool: str
    is_own: bool
    weight: float
    running: int
    waiting: int
    calls: int
    waited: int
    wait_s: float
    longest_s: float
    refused_full: int
    refused_late: int
    served: float
    fair_share: float


def pools_now(capacity: Capacity, now: float, most: int) -> list[PoolView]:
    """Pools of the platform, and of tenants' own accounts those with most that waits and runs."""
    shared = [pool for pool in capacity.pools() if pool.owner is None]
    own = (pool for pool in capacity.pools() if pool.owner is not None)
    return [_pool(pool, now) for pool in [*shared, *nlargest(most, own, key=_load)]]


def turns_of(capacity: Capacity, tenant: TenantId) -> list[TurnsView]:
    """What one tenant got, pool by pool."""
    found = ((pool, pool.scheduler.find(tenant)) for pool in capacity.pools())
    return [_turns(pool, place) for pool, place in found if place is not None]


def longest_waits(capacity: Capacity, most: int) -> list[TurnsView]:
    """Those who waited longest in all, whatever the pool."""
    return [_turns(pool, place) for pool, place in nlargest(most, _all(capacity), key=_waited)]


def _all(capacity: Capacity) -> Iterator[tuple[Pool, Place]]:
    return ((pool, place) for pool in capacity.pools() for place in pool.scheduler.places())


def _waited(found: tuple[Pool, Place]) -> tuple[float, int, int]:
    place = found[1]
    refused = place.tally.full + place.tally.late
    return place.tally.wait_s, refused, place.waiting + place.running


def _load(pool: Pool) -> int:
    return pool.scheduler.waiting + pool.scheduler.running


def _pool(pool: Pool, now: float) -> PoolView:
    it = pool.scheduler
    return PoolView(
        pool.name, pool.owner, it.capacity, it.headroom(now), it.running, it.waiting, it.active
    )


def _turns(pool: Pool, place: Place) -> TurnsView:
    tally = place.tally
    return TurnsView(
        tenant=place.tenant,
        pool=pool.name,
        is_own=pool.owner is not None,
        weight=place.weight,
        running=place.running,
        waiting=place.waiting,
        calls=place.calls,
        waited=tally.waited,
        wait_s=tally.wait_s / tally.waited if tally.waited else 0.0,
        longest_s=tally.longest_s,
        refused_full=tally.full,
        refused_late=tally.late,
        served=place.served,
        fair_share=pool.scheduler.entitled(place),
    )
