"""What a replica holds of one lease: reserved and spent without asking anybody."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from tenantry.limits.granting import Amounts, Grant, Told
from tenantry.limits.rules import Ask, Budget, CounterKey, Rulebook

_MOST_ASKS = 4096
_USABLE = 0.8
"""Of a lease's life: what is left is for the intent to reach the database before it ends."""


@dataclass(slots=True)
class Room:
    """What is known of a counter beyond this lease.

    Attributes:
        room: what was left for anybody, when last told.
        known_at: when that was.
        resets_at: when its window ends.
    """

    room: int
    known_at: float
    resets_at: float


@dataclass(slots=True)
class Portion:
    """A lease's part in one counter, as its holder knows it.

    Attributes:
        budget: the budget.
        granted: granted in all.
        spent: what calls that have ended used.
        reserved: the most that calls under way can use.
        beyond: what is known beyond this lease.
    """

    key: CounterKey
    budget: Budget
    beyond: Room
    granted: int = 0
    spent: int = 0
    reserved: int = 0

    @property
    def left(self) -> int:
        """What may still be reserved; a debt is told, and then charged to all."""
        return max(self.granted, self.spent) - self.spent - self.reserved

    @property
    def remaining(self) -> int:
        """About what is left of the budget for this replica's tenant."""
        return max(0, self.left) + self.beyond.room


class Holding:
    """A lease in the hands of its replica.

    Attributes:
        id: the lease.
        rulebook: the budgets it was made by.
        portions: by budget and subject.
        usable_until: monotonic seconds after which nothing more is reserved.
        calls: calls under way, those that were left open included.
        unknown: calls that were left open: only the ledger knows what becomes of them.
        began_at: when it was first granted.
        is_given_back: whether what its calls do not need was given back.
    """

    def __init__(self, lease: UUID, rulebook: Rulebook, began_at: float) -> None:
        self.id = lease
        self.rulebook = rulebook
        self.portions: dict[tuple[UUID, str], Portion] = {}
        self.usable_until = began_at
        self.calls = 0
        self.unknown = 0
        self.began_at = began_at
        self.is_given_back = False
        self._asks: dict[Ask, tuple[Portion, ...]] = {}

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is under way that its holder will hear of."""
        return self.calls == self.unknown

    def portions_for(self, ask: Ask) -> tuple[Portion, ...] | None:
        """The portions a call takes from; None when it needs one that is not there yet."""
        known = self._asks.get(ask)
        if known is not None:
            return known
        found = []
        for budget, subject in self.rulebook.applying(ask):
            portion = self.portions.get((budget.id, subject))
            if portion is None:
                return None
            found.append(portion)
        if len(self._asks) >= _MOST_ASKS:
            self._asks.clear()
        self._asks[ask] = tuple(found)
        return self._asks[ask]

    def install(self, grant: Grant, asked_at: float, now: float) -> None:
        """Take what was granted; the lease is counted from before it was asked for."""
        for part in grant.slices:
            beyond = Room(part.room, now, asked_at + part.resets_in_s)
            found = self.portions.get((part.key.budget, part.key.subject))
            if found is None:
                found = Portion(part.key, part.budget, beyond)
                self.portions[(part.key.budget, part.key.subject)] = found
            found.beyond = beyond
            found.granted += part.granted
        self.is_given_back = False
        self.usable_until = asked_at + _USABLE * grant.lifetime_s

    def told(self, *, keep: bool) -> Told:
        """What its calls came to; unless it is to `keep` the rest, that is given back."""
        spent = {portion.key: portion.spent for portion in self.portions.values()}
        if keep:
            return Told(self.id, spent)
        kept = {portion.key: portion.reserved for portion in self.portions.values()}
        return Told(self.id, spent, kept, ends=self.calls == 0)

    def was_told(self, told: Told) -> None:
        """What was told is known to all now; a debt in it too, so that it is no more owed here."""
        self.is_given_back = self.is_given_back or told.kept is not None
        for portion in self.portions.values():
            portion.granted = max(portion.granted, told.spent.get(portion.key, 0))

    def left(self) -> Mapping[CounterKey, int]:
        """What is left of each counter."""
        return {portion.key: portion.left for portion in self.portions.values()}

    def taken(self) -> Iterator[tuple[tuple[UUID, str], int]]:
        """What was taken of each counter so far."""
        for key, portion in self.portions.items():
            yield key, portion.spent + portion.reserved


@dataclass(slots=True)
class Pace:
    """How fast one tenant's counters are used here, as a smoothed rate.

    Attributes:
        ahead_s: for how many seconds a slice is to last.
    """

    ahead_s: float = 2.0
    _taken: dict[tuple[UUID, str], int] = field(default_factory=dict)
    _rates: dict[tuple[UUID, str], float] = field(default_factory=dict)
    _seen_at: float = 0.0

    def observe(self, taken: Iterator[tuple[tuple[UUID, str], int]], now: float) -> None:
        """Take note of what was taken in all, by a lease's own count."""
        passed_s = max(0.25, now - self._seen_at)
        counted = dict(taken)
        for key, amount in counted.items():
            fresh = max(0, amount - self._taken.get(key, 0)) / passed_s
            self._rates[key] = 0.5 * (self._rates.get(key, fresh) + fresh)
        self._taken, self._seen_at = counted, now
        for key in self._rates.keys() - counted.keys():
            del self._rates[key]

    def restart(self) -> None:
        """Another lease begins to count from nothing."""
        self._taken = {}

    def wanted(self) -> Mapping[tuple[UUID, str], int]:
        """What would be used of each counter in the time a slice is to last."""
        return {key: int(rate * self.ahead_s) for key, rate in self._rates.items()}


def lacking(portions: tuple[Portion, ...], amounts: Amounts) -> list[Portion]:
    """The portions without room for a call."""
    return [p for p in portions if p.granted - p.spent - p.reserved < amounts[p.budget.unit]]
