"""A call's turn, and a tenant's place in one pool: plain state that the scheduler works on.

Ten thousand tenants may wait at once, so these are small: about a kilobyte for a tenant with one
call, which `bench/scheduler.py` measures.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any

from tenantry.core.ids import TenantId
from tenantry.fairness.bulkheads import LANES, counts_as_come


class State(IntEnum):
    """Where a turn stands."""

    WAITING = 0
    RUNNING = 1
    OVER = 2


_WAITING = State.WAITING


class Turn:
    """One call: it waits, then holds a slot, then is over.

    Turns of a tenant in one lane are a linked list: an empty deque alone takes more memory than
    everything else of a tenant.

    Attributes:
        place: its tenant's place in the pool.
        lane: number of its lane.
        cost: what it may use at most, in units.
        since: when it came, by the monotonic clock.
        started: when it got its slot; `since` until then.
        state: waiting, running or over.
        charge: what it was charged, cost by weight; there is none before it gets its slot.
        granted: who waits for it; the scheduler does not look inside.
        after: who waits behind it.
        last: of the first in a line, the last one; None if nobody is behind it.
    """

    __slots__ = (
        "after", "charge", "cost", "granted", "lane", "last", "place", "since", "started", "state"
    )  # fmt: skip

    charge: float

    def __init__(self, place: "Place", lane: int, cost: float, since: float) -> None:
        self.place = place
        self.lane = lane
        self.cost = cost
        self.since = since
        self.started = since
        self.state = _WAITING
        self.granted: Any = None
        self.after: Turn | None = None
        self.last: Turn | None = None

    @property
    def tenant(self) -> TenantId:
        """Whose call it is."""
        return self.place.tenant


class Place:
    """A tenant's place in a pool.

    Attributes:
        tenant: whose it is.
        weight: its weight; twice the weight is twice the share.
        settled: what it has used up to now, by weight, on the scale of the pool's virtual time.
        held: what its running calls are charged, by weight.
        running: slots it holds.
        waiting: calls of it that wait.
        waiting_cost: what they may use at most, in units.
        firsts: who waits first in each lane.
        stamp: of its valid entries in the heaps; 0 while nothing of it waits.
        is_idle: whether it neither waits nor runs.
        calls: calls that got their turn, for reports.
        served: units its ended calls used, for reports.
        tally: what else is told of it in reports.
    """

    __slots__ = (
        "calls", "firsts", "held", "is_idle", "running", "served", "settled", "stamp", "tally",
        "tenant", "waiting", "waiting_cost", "weight",
    )  # fmt: skip

    def __init__(self, tenant: TenantId, weight: float) -> None:
        self.tenant = tenant
        self.weight = weight
        self.settled = 0.0
        self.held = 0.0
        self.running = 0
        self.waiting = 0
        self.waiting_cost = 0.0
        self.firsts: list[Turn | None] = [None] * len(LANES)
        self.stamp = 0
        self.is_idle = True
        self.calls = 0
        self.served = 0.0
        self.tally = Tally()

    @property
    def key(self) -> float:
        """By which turns are ordered: what it has used, and what it may be using just now."""
        return self.settled + self.held

    def join(self, turn: Turn) -> bool:
        """Put a call at the end of its lane's line; whether it is the first."""
        self.waiting += 1
        self.waiting_cost += turn.cost
        first = self.firsts[turn.lane]
        if first is None:
            self.firsts[turn.lane] = turn
            return True
        (first.last or first).after = turn
        first.last = turn
        return False

    def leave(self, turn: Turn) -> None:
        """Take a call out of its line; at once if it is the first."""
        self.stamp = 0
        self.waiting -= 1
        self.waiting_cost = self.waiting_cost - turn.cost if self.waiting else 0.0
        first, after = self.firsts[turn.lane], turn.after
        if turn is first:
            self.firsts[turn.lane] = after
            if after is not None:
                after.last = turn.last if turn.last is not after else None
                turn.after = turn.last = None
            return
        before = first
        while before is not None and before.after is not turn:
            before = before.after
        if first is None or before is None:
            return
        before.after = after
        if after is None:
            first.last = before if before is not first else None
        turn.after = None

    def next(self, lanes: Iterable[int]) -> Turn | None:
        """Whose turn it is among its calls in these lanes."""
        best: Turn | None = None
        for lane in lanes:
            turn = self.firsts[lane]
            if turn is not None and (best is None or _came(turn) < _came(best)):
                best = turn
        return best

    def turns(self) -> Iterator[Turn]:
        """Everyone who waits, lane by lane."""
        for turn in self.firsts:
            while turn is not None:
                yield turn
                turn = turn.after


def _came(turn: Turn) -> float:
    return counts_as_come(turn.lane, turn.since)


class Tally:
    """What a tenant got in a pool, for reports; since it first came.

    Attributes:
        entitled: units that were its fair share while it wanted any, up to `mark`.
        mark: the pool's progress up to which `entitled` is counted.
        waited: calls that got their turn, and had to wait for it.
        wait_s: how long all of them waited together.
        longest_s: the longest wait.
        full: calls refused because too much of it waited.
        late: calls refused because their turn would have come, or came, too late.
    """

    __slots__ = ("entitled", "full", "late", "longest_s", "mark", "wait_s", "waited")

    def __init__(self) -> None:
        self.entitled = 0.0
        self.mark = 0.0
        self.waited = 0
        self.wait_s = 0.0
        self.longest_s = 0.0
        self.full = 0
        self.late = 0

    def waited_for(self, seconds: float) -> None:
        """A call got its turn after so long."""
        self.waited += 1
        self.wait_s += seconds
        self.longest_s = max(self.longest_s, seconds)
