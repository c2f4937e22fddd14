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


class Turn:
    """One call: it waits, then holds a slot, then is over.

    Attributes:
        place: its tenant's place in the pool.
        lane: number of its lane.
        cost: what it may use at most, in units.
        since: when it came, by the monotonic clock.
        started: when it got its slot; `since` until then.
        state: waiting, running or over.
        charge: what it was charged, cost by weight; set when it gets its slot.
        granted: who waits for it; the scheduler does not look inside.
    """

    __slots__ = (
        "after", "before", "charge", "cost", "granted", "lane", "place", "since", "started", "state"
    )  # fmt: skip

    def __init__(self, place: "Place", lane: int, cost: float, since: float) -> None:
        self.place = place
        self.lane = lane
        self.cost = cost
        self.since = since
        self.started = since
        self.state = State.WAITING
        self.charge = 0.0
        self.granted: Any = None
        self.before: Turn | None = None
        self.after: Turn | None = None

    @property
    def tenant(self) -> TenantId:
        """Whose call it is."""
        return self.place.tenant


class Line:
    """Turns of one tenant in one lane, first come first served.

    A linked list: an empty deque alone takes more memory than everything else of a tenant.
    """

    __slots__ = ("first", "last")

    def __init__(self) -> None:
        self.first: Turn | None = None
        self.last: Turn | None = None

    def join(self, turn: Turn) -> None:
        """Queue up at the end."""
        turn.before = self.last
        if self.last is None:
            self.first = turn
        else:
            self.last.after = turn
        self.last = turn

    def leave(self, turn: Turn) -> None:
        """Take a turn out, wherever it stands; constant time."""
        if turn.before is None:
            self.first = turn.after
        else:
            turn.before.after = turn.after
        if turn.after is None:
            self.last = turn.before
        else:
            turn.after.before = turn.before
        turn.before = turn.after = None


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
        lines: its queue in each lane; None where it has none.
        stamp: of its valid entries in the heaps; 0 while nothing of it waits.
        is_idle: whether it neither waits nor runs.
        tally: what is told of it in reports.
    """

    __slots__ = (
        "held", "is_idle", "lines", "running", "settled", "stamp", "tally", "tenant", "waiting",
        "waiting_cost", "weight",
    )  # fmt: skip

    def __init__(self, tenant: TenantId, weight: float) -> None:
        self.tenant = tenant
        self.weight = weight
        self.settled = 0.0
        self.held = 0.0
        self.running = 0
        self.waiting = 0
        self.waiting_cost = 0.0
        self.lines: list[Line | None] = [None] * len(LANES)
        self.stamp = 0
        self.is_idle = True
        self.tally = Tally()

    @property
    def key(self) -> float:
        """By which turns are ordered: what it has used, and what it may be using just now."""
        return self.settled + self.held

    def line(self, lane: int) -> Line:
        """Its queue in a lane, made when it is needed."""
        found = self.lines[lane]
        if found is None:
            found = self.lines[lane] = Line()
        return found

    def next(self, lanes: Iterable[int]) -> Turn | None:
        """Whose turn it is among its calls in these lanes."""
        best: Turn | None = None
        for lane in lanes:
            line = self.lines[lane]
            turn = None if line is None else line.first
            if turn is not None and (best is None or _came(turn) < _came(best)):
                best = turn
        return best

    def turns(self) -> Iterator[Turn]:
        """Everyone who waits, lane by lane."""
        for line in self.lines:
            turn = None if line is None else line.first
            while turn is not None:
                yield turn
                turn = turn.after


def _came(turn: Turn) -> float:
    return counts_as_come(turn.lane, turn.since)


class Tally:
    """What a tenant got in a pool, for reports; since it first came.

    Attributes:
        served: units its ended calls used.
        entitled: units that were its fair share while it wanted any, up to `mark`.
        mark: the pool's progress up to which `entitled` is counted.
        calls: calls that got their turn.
        waited: of those, how many had to wait.
        wait_s: how long all of them waited together.
        longest_s: the longest wait.
        full: calls refused because too much of it waited.
        late: calls refused because their turn would have come, or came, too late.
    """

    __slots__ = (
        "calls", "entitled", "full", "late", "longest_s", "mark", "served", "wait_s", "waited"
    )  # fmt: skip

    def __init__(self) -> None:
        self.served = 0.0
        self.entitled = 0.0
        self.mark = 0.0
        self.calls = 0
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
