"""Whatever replicas, clocks and operators do, and in whatever order: no budget is overshot.

The arithmetic and the replicas are the real ones. Only PostgreSQL is played: a dictionary that is
changed by one trip at a time, with the fence that `append_usage()` is. A trip may fail before it
was done, or after, when nobody knows. Replicas are killed with their calls under way, sleep past
their leases, and wake up; limits are changed at any moment.
"""

import asyncio
from collections.abc import Coroutine
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tenantry.core.clock import ManualClock
from tenantry.core.errors import BudgetExhausted, StoreUnavailable
from tenantry.core.ids import TenantId
from tenantry.isolation.context import Actor, ContextMint, TenantContext
from tenantry.limits.budgets import Budgets
from tenantry.limits.complexity import Use, WeightBook
from tenantry.limits.granting import Grant, Request, State, Told, grant, settle
from tenantry.limits.reservation import Reservation
from tenantry.limits.rules import Ask, Budget, Rulebook
from tenantry.limits.windows import RATE_US, window_at, zone

T = TypeVar("T")
ZONE = "America/Havana"
START = datetime(2026, 3, 8, 4, 59, 50, tzinfo=UTC)
"""Seconds before a day that lacks its midnight, and before an hour and a minute end."""
MINT = ContextMint(b"k" * 32)
MEMBERS = [uuid4(), uuid4()]


def of_tokens(scope: Any, period: Any, limit: int, **more: Any) -> Budget:
    """A budget of so many tokens."""
    return Budget(uuid4(), "tenant", scope, "*", "tokens", period, limit * 1000, **more)


BUDGETS = [
    of_tokens("tenant", "day", 4000, grace=100_000),
    of_tokens("member", "hour", 3000),
    of_tokens("tenant", "minute", 2500),
    of_tokens("member", "second", 1500),
    of_tokens("model", "month", 6000),
    Budget(uuid4(), "operator", "tenant", "*", "requests", "hour", hard_limit=6),
]
SIZES = st.sampled_from([10, 400, 1000, 1500])
SHARES = st.sampled_from([0, 30, 100, 100])


def context(member: UUID) -> TenantContext:
    """A member of the one tenant."""
    tenant = TenantId(UUID(int=1))
    return MINT.mint(tenant, Actor("member", member, "viewer"), frozenset(), "r", 1e12)


@dataclass
class Call:
    """A call that left; `used` is None while nobody knows."""

    ask: Ask
    lease: UUID
    at: datetime
    bound: int
    used: int | None = None
    is_closed: bool = False

    @property
    def counted(self) -> int:
        """What it may have cost, at most."""
        return (self.bound if self.used is None else self.used) * 1000


@dataclass
class PlayedDatabase:
    """One tenant's rows, in memory."""

    clock: ManualClock
    state: State
    fails: str = ""
    calls: list[Call] = field(default_factory=list)

    async def trip(self, ctx: TenantContext, request: Request) -> Grant:
        """One transaction."""
        del ctx
        if self.fails == "before":
            raise StoreUnavailable
        self.state.now = self.clock.now()
        changed = deepcopy(self.state)
        changed.touched, changed.refused, changed.ended = set(), set(), set()
        answer = grant(changed, request)
        self.state = changed
        if self.fails == "after":
            raise StoreUnavailable
        return answer

    def admits(self, lease: UUID) -> bool:
        """The fence."""
        found = self.state.leases.get(lease)
        return (
            found is not None
            and found.expires_at > self.clock.now()
            and found.epoch == self.state.rulebook.epoch
        )

    def set_budgets(self, budgets: list[Budget]) -> None:
        """As `tell_budgets()` does."""
        self.state.rulebook = Rulebook(self.state.rulebook.epoch + 1, ZONE, tuple(budgets))
        for lease in self.state.leases.values():
            lease.expires_at = min(lease.expires_at, self.clock.now())

    def reap(self) -> None:
        """As `LeaseReaper` does."""
        self.state.now = self.clock.now()
        for lease in list(self.state.leases.values()):
            mine = [call for call in self.calls if call.lease == lease.id]
            if lease.expires_at > self.clock.now() - timedelta(seconds=10):
                continue
            if not all(call.is_closed for call in mine):
                continue
            spent = {}
            for key in lease.parts:
                budget = self.state.budget(key)
                if budget is not None:
                    spent[key] = sum(
                        1 if budget.unit == "requests" else call.counted
                        for call in mine
                        if budget.counts(call.ask) == key.subject
                    )
            settle(self.state, Told(lease.id, spent, {}, ends=True))


@dataclass
class Process:
    """A replica, its calls that have a reservation, and those that have left."""

    budgets: Budgets


@dataclass
class Held:
    """A reservation whose call has not left yet."""

    process: int
    budgets: Budgets
    ask: Ask
    bound: int
    reservation: Reservation
    is_over: bool = False
    is_left: bool = False

    def leave_open(self) -> None:
        """Its replica will not hear what becomes of it."""
        self.is_over = self.is_left = True
        self.reservation.leave_open()


@dataclass
class Open:
    """A call under way."""

    held: Held
    call: Call


class BudgetMachine(RuleBasedStateMachine):
    """Steps in any order, checked after each."""

    held = Bundle("held")
    opened = Bundle("opened")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock(START)
        self.database = PlayedDatabase(self.clock, State(START, Rulebook(1, ZONE, tuple(BUDGETS))))
        self.processes = [self._process() for _ in range(3)]
        self.dead: list[Budgets] = []

    def _process(self) -> Process:
        return Process(Budgets(self.database, WeightBook(), self.clock))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def teardown(self) -> None:
        """Nothing of the loop is left."""
        self.loop.close()

    @initialize(chosen=st.lists(st.sampled_from(BUDGETS), min_size=1, max_size=4, unique=True))
    def begin(self, chosen: list[Budget]) -> None:
        """Some budgets hold; with all of them at once, the tightest would hide the others."""
        self.database.set_budgets(chosen)

    @rule(n=st.integers(0, 2), member=st.sampled_from(MEMBERS), tokens=SIZES, share=SHARES)
    def call(self, n: int, member: UUID, tokens: int, share: int) -> None:
        """A call from its beginning to its end, as most are."""
        held = self.reserve(n, member, tokens, "")
        if isinstance(held, Held):
            opened = self.leave(held)
            if isinstance(opened, Open):
                self.settle(opened, share)

    @rule(n=st.integers(0, 2))
    def rest(self, n: int) -> None:
        """A lease's life goes by, and its holder tells of it."""
        self.clock.advance(4.5)
        self.tick(n, "")

    @rule(
        target=held,
        n=st.integers(0, 2),
        member=st.sampled_from(MEMBERS),
        tokens=SIZES,
        fails=st.sampled_from(["", "", "", "", "before", "after"]),
    )
    def reserve(self, n: int, member: UUID, tokens: int, fails: str) -> Any:
        """A call wants to leave."""
        ctx, process = context(member), self.processes[n]
        self.database.fails = fails
        ask = Ask.of(ctx, "p", "m")
        try:
            got = self._run(process.budgets.reserve(ctx, ask, Use(input_tokens=tokens)))
        except (BudgetExhausted, StoreUnavailable):
            return multiple()
        finally:
            self.database.fails = ""
        return Held(n, process.budgets, ask, tokens, got)

    @rule(
        target=held,
        n=st.integers(0, 2),
        count=st.integers(2, 12),
        tokens=st.sampled_from([50, 300]),
    )
    def reserve_many(self, n: int, count: int, tokens: int) -> Any:
        """Several at once."""
        ctx, process = context(MEMBERS[0]), self.processes[n]
        ask = Ask.of(ctx, "p", "m")

        async def all_of_them() -> list[Any]:
            wishes = (
                process.budgets.reserve(ctx, ask, Use(input_tokens=tokens)) for _ in range(count)
            )
            return await asyncio.gather(*wishes, return_exceptions=True)

        got = [x for x in self._run(all_of_them()) if isinstance(x, Reservation)]
        return multiple(*(Held(n, process.budgets, ask, tokens, one) for one in got))

    @rule(target=opened, held=held)
    def leave(self, held: Held) -> Any:
        """A call's intent reaches the database, whenever that is."""
        if held.is_over:
            return multiple()
        held.is_over = True
        lease = held.reservation.lease_id
        assert lease is not None
        if not self.database.admits(lease):
            held.budgets.lost(context(MEMBERS[0]), held.reservation)
            return multiple()
        call = Call(held.ask, lease, self.clock.now(), held.bound)
        self.database.calls.append(call)
        self._no_quota_is_overshot(call)
        return Open(held, call)

    @rule(opened=opened, share=SHARES)
    def settle(self, opened: Open, share: int) -> None:
        """A call ends, having used a share of its bound; its ledger row is written too."""
        if opened.call.is_closed or opened.held.is_left or opened.held.budgets in self.dead:
            return
        opened.call.used = opened.call.bound * share // 100
        opened.call.is_closed = True
        opened.held.reservation.settle(Use(input_tokens=opened.call.used))

    @rule(opened=opened)
    def lose_the_end(self, opened: Open) -> None:
        """A call ends, and nobody hears whether its ledger row was written."""
        if not opened.call.is_closed and opened.held.budgets not in self.dead:
            opened.held.leave_open()

    @rule(opened=opened, share=SHARES)
    def find_the_end(self, opened: Open, share: int) -> None:
        """The row was written after all, or is now."""
        if opened.held.is_left and not opened.call.is_closed:
            opened.call.used = opened.call.bound * share // 100
            opened.call.is_closed = True

    @rule(target=opened, held=held)
    def leave_unheard(self, held: Held) -> Any:
        """A call's intent reaches the database, and its replica never hears of it."""
        lease = held.reservation.lease_id
        if held.is_over or lease is None or not self.database.admits(lease):
            return multiple()
        held.leave_open()
        call = Call(held.ask, lease, self.clock.now(), held.bound)
        self.database.calls.append(call)
        self._no_quota_is_overshot(call)
        return Open(held, call)

    @rule(held=held)
    def give_up(self, held: Held) -> None:
        """A caller goes away before its call left."""
        if not held.is_over:
            held.is_over = True
            held.reservation.release()

    @rule(seconds=st.sampled_from([0.05, 0.5, 2.0, 4.5, 11.0, 61.0, 1800.0, 40_000.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @rule(n=st.integers(0, 2), fails=st.sampled_from(["", "", "before", "after"]))
    def tick(self, n: int, fails: str) -> None:
        """A replica tells what is due."""

        async def told() -> None:
            self.processes[n].budgets.tick()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            if tasks:
                await asyncio.wait(tasks)

        self.database.fails = fails
        self._run(told())
        self.database.fails = ""

    @rule(n=st.integers(0, 2))
    def kill(self, n: int) -> None:
        """A replica dies; the sweeper closes its calls, and nobody knows what they used."""
        dead = self.processes[n].budgets
        self.dead.append(dead)
        self.processes[n] = self._process()

    @rule(opened=opened)
    def sweep(self, opened: Open) -> None:
        """The ledger's sweeper closes a call of a dead process, or one that was left open."""
        if opened.held.budgets in self.dead or opened.held.is_left:
            opened.call.is_closed = True

    @rule()
    def reap(self) -> None:
        """Leases of the dead are settled."""
        self.database.reap()

    @rule(
        n=st.integers(0, 2),
        hears=st.booleans(),
        place=st.integers(0, 3),
        limit=st.sampled_from([0, 400, 2000, 8000]),
    )
    def change(self, n: int, hears: bool, place: int, limit: int) -> None:
        """A quota is changed; a replica may hear of it, or not."""
        budgets = list(self.database.state.rulebook.budgets)
        place %= len(budgets)
        if not budgets[place].is_rate:
            limit *= budgets[place].whole_scale
            budgets[place] = replace(budgets[place], hard_limit=limit)
        self.database.set_budgets(budgets)
        if hears:
            self.processes[n].budgets.forget_all()

    def _no_quota_is_overshot(self, latest: Call) -> None:
        for budget, subject in self.database.state.rulebook.applying(latest.ask):
            if budget.is_rate:
                continue
            window = window_at(budget.period, latest.at, zone(ZONE))
            calls = [
                call
                for call in self.database.calls
                if budget.counts(call.ask) == subject and window.start <= call.at < window.end
            ]
            counted = (1 if budget.unit == "requests" else call.counted for call in calls)
            assert sum(counted) <= (budget.ceiling or 0), budget

    @invariant()
    def no_rate_is_overshot(self) -> None:
        """In any stretch of time: a burst, and what drains meanwhile."""
        for budget in self.database.state.rulebook.budgets:
            if not budget.is_rate:
                continue
            for subject in {budget.counts(call.ask) for call in self.database.calls}:
                calls = [c for c in self.database.calls if budget.counts(c.ask) == subject]
                limit, period_us = budget.ceiling or 0, RATE_US[budget.period]
                for first in range(len(calls)):
                    total = 0
                    for call in calls[first:]:
                        total += call.counted
                        passed = (call.at - calls[first].at) // timedelta(microseconds=1)
                        assert total * period_us <= limit * (period_us + passed), budget


@pytest.mark.req("LIM-1", "LIM-2")
def test_no_interleaving_overshoots_a_budget() -> None:
    run_state_machine_as_test(
        BudgetMachine,
        settings=settings(max_examples=100, stateful_step_count=40, deadline=None),
    )
