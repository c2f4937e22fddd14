"""Who waits in one lane of a pool: a heap by counters, whose outdated entries are skipped."""

import heapq

from tenantry.fairness.bulkheads import guaranteed
from tenantry.fairness.turns import Place

_SLACK = 64
"""Outdated entries the heap may have besides as many as there are calls that wait."""
_Entry = tuple[float, int, Place]


class LaneQueue:
    """Tenants with calls that wait in one lane.

    Attributes:
        number: of the lane.
        waiting: calls that wait in it.
        running: slots that it holds.
        own: slots that it may hold when nearly all are taken.
    """

    __slots__ = ("_heap", "number", "own", "running", "waiting")

    def __init__(self, number: int, capacity: int) -> None:
        self.number = number
        self.waiting = 0
        self.running = 0
        self.own = guaranteed(number, capacity)
        self._heap: list[_Entry] = []

    def enter(self, key: float, stamp: int, place: Place) -> None:
        """A tenant waits with this counter; its entries with other stamps are outdated."""
        heap = self._heap
        if len(heap) > 2 * self.waiting + _SLACK:
            heap[:] = [entry for entry in heap if entry[1] == entry[2].stamp]
            heapq.heapify(heap)
        heapq.heappush(heap, (key, stamp, place))

    def first(self) -> Place | None:
        """The tenant with the smallest counter."""
        heap = self._heap
        while heap:
            entry = heap[0]
            if entry[1] == entry[2].stamp:
                return entry[2]
            heapq.heappop(heap)
        return None

    def has_below(self, capacity: int, weight: float) -> bool:
        """Whether a tenant that waits here is below its share of the slots.

        Looks past those at their share, of which there are no more than slots.

        Args:
            capacity: slots of the pool.
            weight: of all tenants that want any of them.
        """
        heap = self._heap
        passed: list[_Entry] = []
        found = False
        while heap and not found:
            entry = heap[0]
            if entry[1] != entry[2].stamp:
                heapq.heappop(heap)
            elif is_at_its_share(entry[2], capacity, weight):
                passed.append(heapq.heappop(heap))
            else:
                found = True
        for entry in passed:
            heapq.heappush(heap, entry)
        return found


def is_at_its_share(place: Place, capacity: int, weight: float) -> bool:
    """Whether a tenant has all slots that are its own, with room left for a newcomer like it."""
    own = place.weight
    return place.running * (weight if weight > own + own else own + own) >= capacity * own
