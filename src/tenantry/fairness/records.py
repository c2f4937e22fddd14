"""What happened, as frozen records: who waited, who was refused, which breaker changed.

They go to a sink, so that metrics can count them, and the last ones of each tenant are kept here
for its report. Both are bounded, and one tenant's flood pushes out no other tenant's records.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tenantry.core.ids import TenantId
from tenantry.fairness.breaker import BreakerState
from tenantry.fairness.bulkheads import Lane

Why = Literal["slots_taken", "share_taken", "queue_full", "deadline"]
"""`slots_taken`: none was free. `share_taken`: the tenant had its share and the rest is kept for
others. The other two are refusals."""
_MOST_TENANTS = 2_000
_EACH = 16


@dataclass(frozen=True, slots=True)
class Waited:
    """A call that waited for its turn, or was refused one.

    Attributes:
        tenant: whose call.
        at: when that ended.
        pool: where.
        lane: in which lane.
        waited_s: for how long.
        why: what it waited for, or why it was refused.
    """

    tenant: TenantId
    at: datetime
    pool: str
    lane: Lane
    waited_s: float
    why: Why


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """A breaker of a tenant changed."""

    tenant: TenantId
    at: datetime
    account: str
    before: BreakerState
    after: BreakerState


@dataclass(frozen=True, slots=True)
class LimitChanged:
    """The number of calls that an account bears at once was found to be another."""

    at: datetime
    pool: str
    before: int
    after: int


Record = Waited | BreakerChanged | LimitChanged
Sink = Callable[[Record], None]


class Journal:
    """Passes records on, and keeps the last sixteen of each of two thousand tenants."""

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink = sink
        self._kept: OrderedDict[TenantId, deque[Waited | BreakerChanged]] = OrderedDict()

    def __call__(self, record: Record) -> None:
        """Take a record."""
        if not isinstance(record, LimitChanged):
            kept = self._kept.setdefault(record.tenant, deque(maxlen=_EACH))
            kept.append(record)
            self._kept.move_to_end(record.tenant)
            if len(self._kept) > _MOST_TENANTS:
                self._kept.popitem(last=False)
        if self._sink is not None:
            self._sink(record)

    def last(self, tenant: TenantId) -> Iterator[Waited | BreakerChanged]:
        """The tenant's last records, newest first."""
        return reversed(self._kept.get(tenant, deque()))
