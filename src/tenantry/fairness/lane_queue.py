"""Who waits in one lane of a pool: a heap by counters, whose outdated entries are skipped."""

from heapq import heapify, heappop, heappush

from tenantry.fairness.turns import Place

_SLACK = 64
"""Outdated entries the heap may have besides as many as there are calls that wait."""
Entry = tuple[float, int, Place]
"""A counter, the stamp that makes it valid, and whose it is."""


class LaneQueue:
    """Tenants with calls that wait in one lane.

    Attributes:
        number: of the lane.
        waiting: calls that wait in it.
        running: slots that it holds.
        own: slots that it may hold when nearly all are taken.
    """

    __slots__ = ("_heap", "number", "own", "running", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.waiting = 0
        self.running = 0
        self.own = 0
        self._heap: list[Entry] = []

    def enter(self, entry: Entry) -> None:
        """A tenant waits with this counter; its entries with other stamps are outdated."""
        heap = self._heap
        if len(heap) > 2 * self.waiting + _SLACK:
            heap[:] = [each for each in heap if each[1] == each[2].stamp]
            heapify(heap)
        heappush(heap, entry)

    def first(self) -> Place | None:
        """The tenant with the smallest counter."""
        heap = self._heap
        while heap:
            entry = heap[0]
            if entry[1] == entry[2].stamp:
                return entry[2]
            heappop(heap)
        return None

    def has_below(self, capacity: int, weight: float) -> bool:
        """Whether a tenant that waits here is below its share of the slots.

        Looks past those at their share, of which there are no more than slots.

        Args:
            capacity: slots of the pool.
            weight: of all tenants that want any of them.
        """
        first = self.first()
        if first is None or not is_at_its_share(first, capacity, weight):
            return first is not None
        heap, passed = self._heap, list[Entry]()
        while heap:
            entry = heap[0]
            if entry[1] != entry[2].stamp:
                heappop(heap)
            elif is_at_its_share(entry[2], capacity, weight):
                passed.append(heappop(heap))
            else:
                break
        found = bool(heap)
        for entry in passed:
            heappush(heap, entry)
        return found


def is_at_its_share(place: Place, capacity: int, weight: float) -> bool:
    """Whether a tenant has all slots that are its own, with room left for a newcomer like it."""
    own = place.weight
    return place.running * (weight if weight > own + own else own + own) >= capacity * own
