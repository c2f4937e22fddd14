"""Whose turn it is at one pool: a Virtual Token Counter on a lazy heap, with headroom.

Each tenant has a counter of what it has used, by weight. A call is charged the most it may use
when it gets its slot, and what it did use when it ends; the tenant that waits with the smallest
counter is next. So of two tenants that wait in the same lane none is ever let in while it is ahead,
and what they get differs by at most two requests over any time.

- **No credit.** A tenant that comes to wait starts where those who wait are, or where the last one
  was: time in which it wanted nothing is lost. That virtual time survives an empty queue.
- **Headroom.** Calls are never interrupted, so slots that are all taken by long calls help nobody
  who comes. While no more than the headroom is free, nobody starts a call unless somebody below
  its share of the slots waits (ADR 15). Even then whoever has used less goes first.
- **Lanes.** The headroom is also closed to a lane that has its slots (`bulkheads`).

Pure: no clock, no event loop. All operations take O(log n) in the tenants that wait; a choice in
the headroom looks past tenants at their share, of which there are no more than slots. What every
call passes (`offer`, `next`, `settle`) calls little, since in Python calling costs most.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappush

from tenantry.core.ids import TenantId
from tenantry.fairness.bulkheads import LANES, guaranteed
from tenantry.fairness.lane_queue import LaneQueue
from tenantry.fairness.turns import Place, State, Turn

_WAITING, _RUNNING, _OVER = State  # looking a name up in an enumeration is slow
_TIDY_EVERY = 64
_RECENT_S = 60.0
"""So long after a second tenant was here the pool counts as shared."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What of one tenant may wait at a pool.

    Attributes:
        requests: calls, at most.
        cost: units that they may use, at most; a single call may be larger.
        places: tenants remembered that want nothing just now.
    """

    requests: int = 64
    cost: float = 4_000_000.0
    places: int = 10_000


class Scheduler:
    """Lets calls of many tenants into the slots of one pool.

    Attributes:
        running: slots taken.
        active: tenants that wait or run.
    """

    def __init__(
        self, capacity: int, bounds: Bounds | None = None, *, has_headroom: bool = True
    ) -> None:
        """Without headroom for a pool that only one tenant can ever use."""
        self.running = 0
        self.active = 0
        self._has_headroom = has_headroom
        self._bounds = bounds or Bounds()
        # By number: a UUID's own hash and comparison are Python's, and cost a fifth of a decision.
        self._places: dict[int, Place] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._lanes = tuple(LaneQueue(lane) for lane in range(len(LANES)))
        self._busy: list[LaneQueue] = []  # those in which somebody waits
        self._stamps = 0
        self._virtual = 0.0
        self._weight = 0.0  # of the tenants that wait or run
        self._progress = 0.0  # fair share, by weight, of what was served since the start
        self._left: Place | None = None  # who last ceased to want anything, and when
        self._left_at = self._shared_at = float("-inf")
        self.capacity = capacity

    @property
    def capacity(self) -> int:
        """Slots."""
        return self._capacity

    @capacity.setter
    def capacity(self, slots: int) -> None:
        self._capacity = slots
        for lane in self._lanes:
            lane.slots, lane.own = slots, guaranteed(lane.number, slots)
        self._alone, self._shared = headrooms(slots) if self._has_headroom else (0, 0)

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return sum(lane.waiting for lane in self._busy)

    def has_room(self, tenant: TenantId, cost: float) -> bool:
        """Whether a call of the tenant may queue up; `offer` it only then."""
        place = self._places.get(tenant.int)
        if place is None or not place.waiting:
            return True
        bounds = self._bounds
        return place.waiting < bounds.requests and place.waiting_cost + cost <= bounds.cost

    def offer(
        self, tenant: TenantId, cost: float, now: float, lane: int = 0, weight: float = 1.0
    ) -> Turn:
        """Queue a call up; `next` says when its turn has come.

        Args:
            tenant: whose call.
            cost: the most it may use, in units, above 0.
            now: seconds, monotonic.
            lane: number of its lane.
            weight: the tenant's weight now, above 0.
        """
        place = self._places.get(tenant.int)
        if place is None:
            place = self._places[tenant.int] = Place(tenant, weight)
        if place.is_idle:
            self._activate(place, weight)
        elif place.weight != weight:
            self._reweigh(place, weight)
        if not place.waiting:
            first = self._first(self._busy)
            here = self._virtual if first is None else first.settled
            # What it holds for running calls is no time in which it wanted nothing.
            place.settled = max(place.settled, here - place.held)
        turn = Turn(place, lane, cost, now)
        queue = self._lanes[lane]
        queue.waiting += 1
        if queue.waiting == 1:
            self._busy.append(queue)
        if place.join(turn):
            self._queue(place)
        return turn

    def next(self, now: float) -> Turn | None:
        """The call that gets a slot now; None while nobody may have one."""
        free, busy = self._capacity - self.running, self._busy
        if free <= 0 or not busy:
            return None
        # Of the last ones, who is below its share.
        is_kept = free <= (self._shared if self.active > 1 else self.headroom(now))
        if len(busy) > 1:
            turn = self._between([lane for lane in busy if not is_kept or self._is_owed(lane)])
        else:
            lane = busy[0]
            place = lane.first()
            if place is None:
                return None
            # One of whom nothing runs is below its share, whatever that is.
            if is_kept and (place.running or lane.running >= lane.own) and not self._is_owed(lane):
                return None
            turn = place.firsts[lane.number]
        if turn is not None:
            self._start(turn, now)
        return turn

    def settle(self, turn: Turn, used: float, now: float) -> None:
        """A call has ended and used so many units; its slot is free. Nothing if it was over."""
        if turn.state is not _RUNNING:
            return
        turn.state = _OVER
        place = turn.place
        self.running -= 1
        self._lanes[turn.lane].running -= 1
        place.running -= 1
        # Nothing runs, nothing is held: sums of fractions would leave a trace.
        place.held = place.held - turn.charge if place.running else 0.0
        place.settled += used / place.weight
        place.served += used
        self._progress += used / self._weight
        if place.waiting:
            self._queue(place)
        elif not place.running:
            self._deactivate(place, now)

    def cancel(self, turn: Turn, now: float) -> None:
        """The caller has gone: a waiting call leaves its queue, a running one used nothing."""
        if turn.state is _RUNNING:
            self.settle(turn, 0.0, now)
        elif turn.state is _WAITING:
            turn.state = _OVER
            place, lane = turn.place, self._lanes[turn.lane]
            place.leave(turn)
            lane.waiting -= 1
            if not lane.waiting:
                self._busy.remove(lane)
            if place.waiting:
                self._queue(place)
            elif not place.running:
                self._deactivate(place, now)

    def headroom(self, now: float) -> int:
        """Free slots that are kept for tenants below their share."""
        return self._shared if self.is_shared(now) else self._alone

    def is_shared(self, now: float) -> bool:
        """Whether more than one tenant is here, or was lately."""
        return self.active > 1 or now - self._shared_at < _RECENT_S

    def share(self, place: Place) -> float:
        """Slots that are the tenant's among those who are here; room for a newcomer is left."""
        return self._capacity * place.weight / max(self._weight, 2 * place.weight)

    def entitled(self, place: Place) -> float:
        """Units that were the tenant's fair share of what was served while it wanted any."""
        since = 0.0 if place.is_idle else self._progress - place.tally.mark
        return place.tally.entitled + since * place.weight

    def find(self, tenant: TenantId) -> Place | None:
        """A tenant's place, if it was here lately."""
        return self._places.get(tenant.int)

    def places(self) -> Iterator[Place]:
        """Every tenant that was here lately."""
        return iter(self._places.values())

    def reweigh(self, weights: Mapping[TenantId, float]) -> None:
        """Take up changed weights at once; whoever is not named weighs 1."""
        for place in self._places.values():
            weight = weights.get(place.tenant, 1.0)
            if weight != place.weight and not place.is_idle:
                self._reweigh(place, weight)

    def _start(self, turn: Turn, now: float) -> None:
        place, lane = turn.place, self._lanes[turn.lane]
        place.leave(turn)
        lane.waiting -= 1
        if not lane.waiting:
            self._busy.remove(lane)
        turn.state, turn.started = _RUNNING, now
        settled, charge = place.settled, turn.cost / place.weight
        if settled > self._virtual:
            self._virtual = settled
        turn.charge = charge
        place.held += charge
        place.running += 1
        place.calls += 1
        lane.running += 1
        self.running += 1
        if place.waiting:
            self._queue(place)
        if now > turn.since:
            place.tally.waited_for(now - turn.since)

    def _queue(self, place: Place) -> None:
        """Enter a tenant that waits with its counter as it is now; older entries are outdated."""
        stamp = self._stamps = place.stamp = self._stamps + 1
        entry = (place.settled + place.held, stamp, place)
        for lane in self._busy:
            if place.firsts[lane.number] is not None:
                heappush(lane.working if place.running else lane.resting, entry)
        if not stamp % _TIDY_EVERY:
            for lane in self._busy:
                lane.tidy()

    def _first(self, lanes: Sequence[LaneQueue]) -> Place | None:
        """The waiting tenant with the smallest counter."""
        if len(lanes) == 1:
            return lanes[0].first()
        firsts = [place for lane in lanes if (place := lane.first()) is not None]
        return min(firsts, key=_order, default=None)

    def _between(self, lanes: Sequence[LaneQueue]) -> Turn | None:
        """The call whose turn it is in one of these lanes."""
        place = self._first(lanes)
        return None if place is None else place.next([lane.number for lane in lanes])

    def _is_owed(self, lane: LaneQueue) -> bool:
        """Whether the lane has slots left that are its own, and for one below its share."""
        return lane.running < lane.own and lane.has_below(self._weight)

    def _activate(self, place: Place, weight: float) -> None:
        self._idle.pop(place.tenant.int, None)
        place.is_idle, place.weight = False, weight
        place.tally.mark = self._progress
        self.active += 1
        self._weight += weight
        if place is not self._left:
            self._shared_at = max(self._shared_at, self._left_at)

    def _deactivate(self, place: Place, now: float) -> None:
        place.tally.entitled = self.entitled(place)
        place.is_idle = True
        self._idle[place.tenant.int] = None
        self.active -= 1
        self._weight = self._weight - place.weight if self.active else 0.0
        self._left, self._left_at = place, now
        if self.active:
            self._shared_at = now
        if len(self._idle) > self._bounds.places:
            # Whoever was idle longest: it comes back where the others are then.
            del self._places[self._idle.popitem(last=False)[0]]

    def _reweigh(self, place: Place, weight: float) -> None:
        place.tally.entitled = self.entitled(place)
        place.tally.mark = self._progress
        self._weight += weight - place.weight
        place.weight = weight


def _order(place: Place) -> tuple[float, int]:
    return place.key, place.stamp


def headrooms(slots: int) -> tuple[int, int]:
    """Of so many slots, how many stay free while one tenant is here, and while several are."""
    shared = -(-slots // 4) if slots <= 16 else -(-slots // 8)
    return (-(-slots // 16) if slots >= 8 else 0), shared
