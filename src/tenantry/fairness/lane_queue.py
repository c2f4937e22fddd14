"""Who waits in one lane of a pool: heaps by counters, whose outdated entries are skipped.

Two of them. Tenants of whom nothing runs are many, and their counters stand still while they wait.
Those with calls under way are no more than slots, and their counters change with every end of a
call. Apart, the many have one entry each, and what is outdated is found among the few.
"""

from heapq import heapify, heappop

from tenantry.fairness.turns import Place

_SLACK = 64
"""Outdated entries a heap may have besides as many as there can be others."""
Entry = tuple[float, int, Place]
"""A counter, the stamp that makes it valid, and whose it is."""


class LaneQueue:
    """Tenants with calls that wait in one lane.

    Attributes:
        number: of the lane.
        waiting: calls that wait in it.
        running: slots that it holds.
        own: slots that it may hold when nearly all are taken.
        slots: of the pool.
        resting: entries of tenants of whom nothing runs; outdated if their stamps are.
        working: entries of tenants with calls under way, likewise.
    """

    __slots__ = ("number", "own", "resting", "running", "slots", "waiting", "working")

    def __init__(self, number: int) -> None:
        self.number = number
        self.waiting = 0
        self.running = 0
        self.own = 0
        self.slots = 0
        self.resting: list[Entry] = []
        self.working: list[Entry] = []

    def first(self) -> Place | None:
        """The tenant with the smallest counter."""
        resting, working = self.resting, self.working
        while resting:
            entry = resting[0]
            if entry[1] == entry[2].stamp:
                break
            heappop(resting)
        while working:
            other = working[0]
            if other[1] == other[2].stamp:
                return entry[2] if resting and entry < other else other[2]
            heappop(working)
        return entry[2] if resting else None

    def tidy(self) -> None:
        """Drop outdated entries where they have become too many."""
        if len(self.resting) > 2 * self.waiting + _SLACK:
            _drop_outdated(self.resting)
        if len(self.working) > 2 * self.slots + _SLACK:
            _drop_outdated(self.working)

    def has_below(self, weight: float) -> bool:
        """Whether a tenant that waits here is below its share of the slots.

        One of whom nothing runs is. Of the others there are no more than slots.

        Args:
            weight: of all tenants that want any of them.
        """
        if self.first() is None:
            return False
        if self.resting:
            return True
        _drop_outdated(self.working)
        return any(not is_at_its_share(each[2], self.slots, weight) for each in self.working)


def _drop_outdated(heap: list[Entry]) -> None:
    valid = [each for each in heap if each[1] == each[2].stamp]
    if len(valid) < len(heap):
        heap[:] = valid
        heapify(heap)


def is_at_its_share(place: Place, capacity: int, weight: float) -> bool:
    """Whether a tenant has all slots that are its own, with room left for a newcomer like it."""
    own = place.weight
    return place.running * (weight if weight > own + own else own + own) >= capacity * own
