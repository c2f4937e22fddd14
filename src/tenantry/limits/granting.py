"""Who gets how much of a budget: pure functions over what the database holds of one tenant.

    committed = used (settled, drained where it is a rate) + held (granted to leases, not yet told)

A grant never lets `committed` pass a budget's ceiling, so neither can what is spent: a lease's
holder spends only what it was granted. What was granted leaves `held` when its holder tells what
became of it, or when it is known from the ledger. A rate drains what was told, from the moment it
was told, and never what is held: spending later than granted cannot bunch up beyond the rate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from tenantry.limits.alerts import Alert, crossed
from tenantry.limits.complexity import Unit
from tenantry.limits.rules import Ask, Budget, CounterKey, Rulebook
from tenantry.limits.windows import ALWAYS, RATE_US, Window, admitted, drained, window_at, zone

LEASE_S = 5.0
_UNLIMITED = 1 << 62
_SHARE = 4
"""A slice beyond the need is at most this part of what is left, over all replicas."""

Amounts = Mapping[Unit, int]


@dataclass(slots=True)
class Counter:
    """What is settled of one counter: `used` of a quota, `tat_us` of a rate."""

    window: Window
    used: int = 0
    tat_us: int = 0


@dataclass(slots=True)
class Part:
    """A lease's part in one counter: granted in all, and how much of it was told as spent."""

    granted: int = 0
    told: int = 0

    @property
    def held(self) -> int:
        """What may still be spent, as far as is known here."""
        return max(0, self.granted - self.told)


@dataclass(slots=True)
class Lease:
    """What a replica may spend until it expires."""

    id: UUID
    replica: UUID
    epoch: int
    expires_at: datetime
    parts: dict[CounterKey, Part] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """What a holder tells of a lease, as totals of its whole life: told twice, it counts once.

    Attributes:
        lease: which.
        spent: what calls that have ended used.
        kept: what is kept beyond that; the rest is given back. None keeps everything.
        ends: nothing is under way any more, and the lease is no longer needed.
    """

    lease: UUID
    spent: Mapping[CounterKey, int]
    kept: Mapping[CounterKey, int] | None = None
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Want:
    """A call that waits: who asks, and the most it can use."""

    ask: Ask
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Request:
    """What a replica asks for a tenant.

    Attributes:
        replica: who asks.
        lease: the lease to add to; None asks for nothing.
        begins: whether it is a new one.
        told: of this and other leases.
        wants: calls that wait, the first first.
        pace: by counter (budget and subject) what the replica would spend in two seconds.
        left: what is left in the lease.
    """

    replica: UUID
    lease: UUID | None = None
    begins: bool = True
    told: Sequence[Told] = ()
    wants: Sequence[Want] = ()
    pace: Mapping[tuple[UUID, str], int] = field(default_factory=dict)
    left: Mapping[CounterKey, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slice:
    """What was added to a lease for one counter.

    Attributes:
        key: the counter.
        budget: its budget.
        granted: what was added; may be nothing.
        room: what is left for anybody now.
        resets_in_s: seconds until its window ends.
    """

    key: CounterKey
    budget: Budget
    granted: int
    room: int
    resets_in_s: float


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to a request.

    Attributes:
        rulebook: the budgets in force; None when the tenant has none.
        lifetime_s: how long the lease lives from now; 0 when it cannot be used: begin another.
        slices: one for each counter that the waiting calls need.
        gone: told leases that are not there any more.
        alerts: raised by this.
    """

    rulebook: Rulebook | None
    lifetime_s: float = 0.0
    slices: Sequence[Slice] = ()
    gone: frozenset[UUID] = frozenset()
    alerts: Sequence[Alert] = ()


@dataclass(slots=True)
class State:
    """All that the database holds of a tenant's budgets, at one moment; changed in place.

    Attributes:
        now: the database's clock.
        rulebook: the budgets.
        counters: by key; a missing one is empty.
        leases: all of the tenant's.
        touched: counters that were changed.
        refused: counters without room for a call that waits.
        ended: leases that were removed.
        transaction: the database's name for the transaction in which it was read.
    """

    now: datetime
    rulebook: Rulebook
    counters: dict[CounterKey, Counter] = field(default_factory=dict)
    leases: dict[UUID, Lease] = field(default_factory=dict)
    touched: set[CounterKey] = field(default_factory=set)
    refused: set[CounterKey] = field(default_factory=set)
    ended: set[UUID] = field(default_factory=set)
    transaction: str = ""

    @property
    def now_us(self) -> int:
        """The moment, in microseconds since 1970."""
        return microseconds(self.now)

    def budget(self, key: CounterKey) -> Budget | None:
        """The budget of a counter, if there still is one."""
        return next((b for b in self.rulebook.budgets if b.id == key.budget), None)

    def key(self, budget: Budget, subject: str, calendar: ZoneInfo) -> CounterKey:
        """The counter of a budget that counts now."""
        window = window_at(budget.period, self.now, calendar)
        key = CounterKey(budget.id, subject, window.start)
        self.counters.setdefault(key, Counter(window))
        return key

    def held(self, key: CounterKey) -> int:
        """What all leases may still spend of a counter."""
        parts = (lease.parts.get(key) for lease in self.leases.values())
        return sum(part.held for part in parts if part is not None)

    def used(self, key: CounterKey, budget: Budget) -> int:
        """What is settled of a counter, and not drained."""
        counter = self.counters[key]
        if not budget.is_rate or budget.ceiling is None:
            return counter.used
        ceiling = max(1, budget.ceiling)
        return ceiling - drained(counter.tat_us, self.now_us, ceiling, RATE_US[budget.period])

    def room(self, key: CounterKey, budget: Budget) -> int:
        """What may still be granted of a counter."""
        if budget.ceiling is None:
            return _UNLIMITED
        return max(0, budget.ceiling - self.used(key, budget) - self.held(key))


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (moment - ALWAYS) // timedelta(microseconds=1)


def settle(state: State, told: Told) -> bool:
    """Take note of what a holder tells; False when the lease is not there any more."""
    lease = state.leases.get(told.lease)
    if lease is None:
        return False
    for key in {*told.spent, *lease.parts}:
        part = lease.parts.setdefault(key, Part())
        spent = max(part.told, told.spent.get(key, 0))
        _charge(state, key, spent - part.told)
        part.told = spent
        if told.kept is not None:
            part.granted = min(part.granted, spent + told.kept.get(key, 0))
    if told.ends:
        del state.leases[told.lease]
        state.ended.add(told.lease)
    return True


def _charge(state: State, key: CounterKey, amount: int) -> None:
    budget, counter = state.budget(key), state.counters.get(key)
    if budget is None or counter is None or amount <= 0:
        return  # the budget was removed, or its window is long over
    counter.used += amount
    if budget.is_rate and budget.ceiling:
        period_us = RATE_US[budget.period]
        counter.tat_us = admitted(counter.tat_us, state.now_us, amount, budget.ceiling, period_us)
    state.touched.add(key)


def grant(state: State, request: Request) -> Grant:
    """Answer a request; `state` is then as it is to be stored."""
    gone = frozenset(told.lease for told in request.told if not settle(state, told))
    if request.lease is None:
        return Grant(state.rulebook, gone=gone, alerts=_alerts(state))
    lease = state.leases.get(request.lease)
    if lease is None and request.begins:
        lease = Lease(request.lease, request.replica, state.rulebook.epoch, state.now)
        state.leases[lease.id] = lease
    if lease is None or not _is_current(state, lease):
        return Grant(state.rulebook, gone=gone, alerts=_alerts(state))
    needs = _Needs(state, request)
    for want in request.wants:
        needs.add(want)
    slices = [needs.grant(key, budget, lease) for key, budget in needs.budgets.items()]
    ends = [state.counters[key].window.end for key in lease.parts]
    lease.expires_at = min([state.now + timedelta(seconds=LEASE_S), *ends])
    lifetime_s = (lease.expires_at - state.now).total_seconds()
    return Grant(state.rulebook, lifetime_s, slices, gone, _alerts(state))


def _is_current(state: State, lease: Lease) -> bool:
    """Whether a lease was made by today's budgets, in windows that are not over."""
    counters = [state.counters.get(key) for key in lease.parts]
    return lease.epoch == state.rulebook.epoch and all(
        counter is not None and counter.window.end > state.now for counter in counters
    )


class _Needs:
    """What the waiting calls need of each counter, as far as there is room."""

    def __init__(self, state: State, request: Request) -> None:
        self.budgets: dict[CounterKey, Budget] = {}
        self._state = state
        self._request = request
        self._calendar = zone(state.rulebook.time_zone)
        self._needed: dict[CounterKey, int] = {}
        self._room: dict[CounterKey, int] = {}
        others = {x.replica for x in state.leases.values() if x.expires_at > state.now}
        self._replicas = len(others | {request.replica})

    def add(self, want: Want) -> None:
        """Add a call, if there is room for it in every budget that counts it."""
        amounts: dict[CounterKey, int] = {}
        for budget, subject in self._state.rulebook.applying(want.ask):
            key = self._state.key(budget, subject, self._calendar)
            if key not in self.budgets:
                self.budgets[key] = budget
                self._room[key] = self._state.room(key, budget) + self._request.left.get(key, 0)
                self._needed[key] = 0
            amounts[key] = want.amounts[budget.unit]
        lacking = [k for k, amount in amounts.items() if self._needed[k] + amount > self._room[k]]
        if lacking:
            self._state.refused.add(lacking[0])
            return
        for key, amount in amounts.items():
            self._needed[key] += amount

    def grant(self, key: CounterKey, budget: Budget, lease: Lease) -> Slice:
        """Add to a lease what is needed, and a slice for what comes next."""
        left, room = self._request.left.get(key, 0), self._state.room(key, budget)
        pace = self._request.pace.get((key.budget, key.subject), 0) - left
        amount = max(self._needed[key] - left, min(pace, room // (_SHARE * self._replicas)), 0)
        amount = min(amount, room)
        part = lease.parts.setdefault(key, Part())
        part.granted = max(part.granted, part.told) + amount
        self._state.touched.add(key)
        end = self._state.counters[key].window.end
        resets_in_s = (end - self._state.now).total_seconds()
        return Slice(key, budget, amount, room - amount, resets_in_s)


def _alerts(state: State) -> list[Alert]:
    """Marks that the touched counters have reached."""
    found: list[Alert] = []
    for key in state.touched:
        budget = state.budget(key)
        if budget is not None and not budget.is_rate and key in state.counters:
            committed = state.used(key, budget) + state.held(key)
            found += crossed(budget, key, committed, full=key in state.refused)
    return found
