"""One pool: calls wait here for their turn, asynchronously, and give their slot back.

Threat: a slot is lost because its caller was cancelled at an awkward moment; waiting has no end.
Invariant: every turn is over once `wait` has raised or its caller has called `give_back`, which
may be called twice; nobody waits longer than agreed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tenantry.core.clock import Clock
from tenantry.core.errors import FairTurnDeadline, QueueFull
from tenantry.core.ids import TenantId
from tenantry.fairness.accounts import AccountTerms
from tenantry.fairness.bulkheads import LANES, Lane
from tenantry.fairness.concurrency import AdaptiveLimit
from tenantry.fairness.records import Journal, LimitChanged, Waited, Why
from tenantry.fairness.scheduler import Bounds, Scheduler
from tenantry.fairness.turns import Place, State, Turn

_SMOOTHING = 0.1
_LEARNED_FROM = 20
"""Calls after which the pool knows how long one takes, well enough to refuse by it."""
_NOTED_FROM_S = 0.05
_BATCH_TIMES = 10.0
"""How much longer than an interactive call one of a batch may wait."""
_LONGEST_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a pool.

    Attributes:
        tenant: whose call.
        weight: the tenant's.
        cost: the most the call may use, in units.
        lane: in which it waits.
        deadline: monotonic seconds after which it is of no use.
    """

    tenant: TenantId
    weight: float
    cost: float
    lane: Lane
    deadline: float


class Pool:
    """The slots of one account."""

    def __init__(
        self,
        name: str,
        owner: TenantId | None,
        terms: AccountTerms,
        clock: Clock,
        journal: Journal,
    ) -> None:
        self.name = name
        self.owner = owner
        self.terms = terms
        self._clock = clock
        self._journal = journal
        self._limit = AdaptiveLimit(terms.concurrency)
        bounds = Bounds(requests=terms.queue)
        # Headroom is kept for others: where only one tenant can ever be, there are none.
        self.scheduler = Scheduler(self._limit.value, bounds, has_headroom=owner is None)
        self._typical_s = 0.0
        self._ended = 0

    @property
    def is_idle(self) -> bool:
        """Whether nobody wants anything of it."""
        return not self.scheduler.active

    def join(self, wish: Wish) -> Turn:
        """A place in the queue, at once with its slot if one is free; to be given back.

        Raises:
            QueueFull: too much of the tenant waits already.
            FairTurnDeadline: its turn would not come in time.
        """
        now = self._clock.monotonic()
        if not self.scheduler.has_room(wish.tenant, wish.cost):
            raise self._full(wish)
        lane = LANES.index(wish.lane)
        turn = self.scheduler.offer(wish.tenant, wish.cost, now, lane, wish.weight)
        self._pump(now)
        if turn.state is State.WAITING:
            likely_s, left_s = self.wait_s(turn.place), self._longest_s(wish, now)
            if likely_s > left_s:
                self.give_back(turn, None)
                raise self._late(turn, likely_s)
            turn.granted = _Waiting(
                asyncio.get_running_loop().create_future(),
                now + left_s,
                "slots_taken" if self._is_full() else "share_taken",
            )
        return turn

    async def wait(self, turn: Turn) -> None:
        """Return once the call has its slot.

        Raises:
            FairTurnDeadline: that was not in time; its place in the queue is given up.
        """
        if turn.state is not State.WAITING:
            return
        waiting: _Waiting = turn.granted
        left_s = max(0.0, waiting.until - self._clock.monotonic())
        try:
            async with asyncio.timeout(left_s):
                await waiting.granted
        except TimeoutError:
            likely_s = self.wait_s(turn.place)
            self.give_back(turn, None)
            raise self._late(turn, likely_s) from None
        except BaseException:
            self.give_back(turn, None)
            raise
        waited_s = turn.started - turn.since
        if waited_s >= _NOTED_FROM_S:
            self._note(turn, waited_s, waiting.why)

    @asynccontextmanager
    async def slot(self, wish: Wish) -> AsyncIterator[None]:
        """A slot for the block, which uses what was wished for; see `join` and `wait`."""
        turn = self.join(wish)
        used = None
        try:
            await self.wait(turn)
            used = wish.cost
            yield
        finally:
            self.give_back(turn, used)

    def give_back(self, turn: Turn, used: float | None) -> None:
        """The call has ended and used so many units; None if it was never made."""
        now = self._clock.monotonic()
        if used is None:
            self.scheduler.cancel(turn, now)
        elif turn.state is State.RUNNING:
            took_s = now - turn.started
            self._ended += 1
            self._typical_s += (took_s - self._typical_s) * max(_SMOOTHING, 1 / self._ended)
            self.scheduler.settle(turn, used, now)
        self._pump(now)

    def answered(self) -> None:
        """The account took a call: it may bear more."""
        now, scheduler = self._clock.monotonic(), self.scheduler
        before = self._limit.value
        is_full = scheduler.waiting > 0 or scheduler.running >= scheduler.capacity
        if self._limit.answered(now, is_full=is_full):
            self._resize(before, now)

    def overloaded(self) -> None:
        """The account said that it is too much."""
        now, before = self._clock.monotonic(), self._limit.value
        if self._limit.overloaded(now):
            self._resize(before, now)

    def troubled(self, tenant: TenantId) -> None:
        """A call of a tenant failed or took too long."""
        now, before = self._clock.monotonic(), self._limit.value
        if self._limit.troubled(tenant, now, is_shared=self.scheduler.is_shared(now)):
            self._resize(before, now)

    def wait_s(self, place: Place) -> float:
        """How long a call that the tenant queues up now is likely to wait; 0 if not known yet."""
        if self._ended < _LEARNED_FROM:
            return 0.0
        slots = max(1.0, self.scheduler.share(place))
        return place.waiting * self._typical_s / slots

    def _longest_s(self, wish: Wish, now: float) -> float:
        most_s = self.terms.wait_s * (_BATCH_TIMES if wish.lane == "batch" else 1.0)
        return max(0.0, min(most_s, wish.deadline - now))

    def _pump(self, now: float) -> None:
        """Start every call that may start."""
        while (turn := self.scheduler.next(now)) is not None:
            waiting: _Waiting | None = turn.granted
            if waiting is not None and not waiting.granted.done():
                waiting.granted.set_result(None)

    def _resize(self, before: int, now: float) -> None:
        after = self._limit.value
        self.scheduler.capacity = after
        if after != before:
            self._journal(LimitChanged(self._clock.now(), self.name, before, after))
        self._pump(now)

    def _is_full(self) -> bool:
        return self.scheduler.running >= self.scheduler.capacity

    def _full(self, wish: Wish) -> QueueFull:
        place = self.scheduler.find(wish.tenant)
        likely_s = 0.0
        if place is not None:
            place.tally.full += 1
            likely_s = self.wait_s(place)
        now = self._clock.now()
        self._journal(Waited(wish.tenant, now, self.name, wish.lane, 0.0, "queue_full"))
        return QueueFull(retry_after_s=min(_LONGEST_RETRY_S, max(1.0, likely_s)))

    def _late(self, turn: Turn, likely_s: float) -> FairTurnDeadline:
        turn.place.tally.late += 1
        self._note(turn, self._clock.monotonic() - turn.since, "deadline")
        return FairTurnDeadline(retry_after_s=min(_LONGEST_RETRY_S, max(1.0, likely_s)))

    def _note(self, turn: Turn, waited_s: float, why: Why) -> None:
        now, lane = self._clock.now(), LANES[turn.lane]
        self._journal(Waited(turn.tenant, now, self.name, lane, waited_s, why))


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Somebody who waits: told by the future, until then at the latest, and for what."""

    granted: "asyncio.Future[None]"
    until: float
    why: Why
