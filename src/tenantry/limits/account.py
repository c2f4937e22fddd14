"""One tenant's budgets in one replica: its lease, leases whose calls still run, calls that wait."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from uuid import UUID

from tenantry.core.errors import TenantryError
from tenantry.core.ids import new_id
from tenantry.isolation.context import TenantContext
from tenantry.limits.complexity import Weights
from tenantry.limits.granting import Amounts, Grant, Request, Told, Want
from tenantry.limits.headers import refusal
from tenantry.limits.holding import Holding, Pace, lacking
from tenantry.limits.reservation import Reservation
from tenantry.limits.rules import Ask

_LONGEST_LIFE_S = 60.0
"""A lease is replaced after that: what the ledger says of it must stay quick to sum up."""
_FRESH_S = 0.25
"""How long it is believed that a budget has no room: others may give back."""
_FRESH_SECOND_S = 0.01
"""The same for the shortest rate, which drains quickly."""


@dataclass(slots=True)
class Waiting:
    """A call that waits for a grant."""

    ctx: TenantContext
    ask: Ask
    amounts: Amounts
    weights: Weights
    outcome: "asyncio.Future[Reservation]"


@dataclass(slots=True)
class _Asked:
    """A request under way: what it tells, when it was made, and for which lease.

    What is told of a lease carries whether it is the last that its holder has to say of it.
    """

    request: Request
    at: float
    tells: list[tuple[Holding, Told, bool]]
    holding: Holding | None
    changes: int


@dataclass(slots=True)
class Account:
    """A tenant's leases in this replica.

    Attributes:
        replica: this process.
        ctx: the context of whoever asked last; the trips are made in it.
        is_free: whether the tenant is known to have no budgets.
        current: the lease that is spent from.
        retired: leases that are not spent from any more, and not told to their end yet.
        waiting: calls that wait, the first first.
        trip: asks the authority just now.
    """

    replica: UUID
    ctx: TenantContext
    is_free: bool = False
    current: Holding | None = None
    retired: list[Holding] = field(default_factory=list)
    waiting: deque[Waiting] = field(default_factory=deque)
    trip: "asyncio.Task[None] | None" = None
    _pace: Pace = field(default_factory=Pace)
    _changes: int = 0

    def take(self, ask: Ask, amounts: Amounts, weights: Weights, now: float) -> Reservation | None:
        """A reservation, if it can be had without asking; None when the authority must be asked.

        Raises:
            BudgetExhausted: a budget is known to have no room.
        """
        if self.is_free:
            return Reservation(None, (), amounts, weights)
        holding = self.current
        if holding is None or now >= holding.usable_until:
            return None
        portions = holding.portions_for(ask)
        if portions is None:
            return None
        short = lacking(portions, amounts)
        if not short:
            return Reservation(holding, portions, amounts, weights)
        for portion in short:
            amount = amounts[portion.budget.unit]
            fresh_s = _FRESH_S if portion.budget.period != "second" else _FRESH_SECOND_S
            if amount > portion.remaining and now - portion.beyond.known_at < fresh_s:
                raise refusal(portion, amount, now)
        return None

    def ask(self, now: float) -> _Asked:
        """What to ask the authority now."""
        holding = self.current
        if holding is not None and (
            holding.unknown
            or now - holding.began_at > _LONGEST_LIFE_S
            or (not self.waiting and self._is_over(now))
        ):
            self.retire()
            holding = None
        tells = [(old, old.told(keep=False), old.is_quiet) for old in self.retired]
        if holding is not None:
            tells.append((holding, holding.told(keep=True), False))
            self._pace.observe(holding.taken(), now)
        lease = holding.id if holding is not None else new_id()
        request = Request(
            replica=self.replica,
            lease=lease if self.waiting else None,
            begins=holding is None,
            told=[told for _, told, _ in tells],
            wants=[Want(call.ask, call.amounts) for call in self.waiting],
            pace=self._pace.wanted(),
            left={} if holding is None else holding.left(),
        )
        return _Asked(request, now, tells, holding, self._changes)

    def install(self, asked: _Asked, grant: Grant, now: float) -> None:
        """Take the authority's answer."""
        self.is_free = grant.rulebook is None
        for holding, told, is_last in asked.tells:
            holding.was_told(told)
            # One with calls that were left open stays at the authority, until the ledger ends it.
            if holding in self.retired and (is_last or holding.id in grant.gone or self.is_free):
                self.retired.remove(holding)
        lease = asked.request.lease
        if self.is_free or grant.rulebook is None:
            self.current = None
        elif lease is None:
            return
        elif grant.lifetime_s <= 0:
            self.retire()  # made by budgets of before, or in a window that is over
        elif asked.holding is not None:
            asked.holding.install(grant, asked.at, now)
        else:
            fresh = Holding(lease, grant.rulebook, asked.at)
            fresh.install(grant, asked.at, now)
            self._pace.restart()
            if self._changes == asked.changes:
                self.current = fresh
            else:
                self.retired.append(fresh)  # the budgets changed meanwhile

    def serve(self, now: float) -> bool:
        """Give those that wait what there is, in their order; False when none could be served."""
        served = 0
        for _ in range(len(self.waiting)):
            call = self.waiting[0]
            if not call.outcome.done():
                try:
                    reservation = self.take(call.ask, call.amounts, call.weights, now)
                except TenantryError as error:
                    call.outcome.set_exception(error)
                else:
                    if reservation is None:
                        break
                    call.outcome.set_result(reservation)
            self.waiting.popleft()
            served += 1
        return served > 0

    def fail(self, error: TenantryError) -> None:
        """Nobody who waits can be served."""
        while self.waiting:
            call = self.waiting.popleft()
            if not call.outcome.done():
                call.outcome.set_exception(type(error)(str(error)))

    def retire(self) -> None:
        """Spend no more from the lease; what it holds is given back at the next trip."""
        self._changes += 1
        if self.current is not None:
            self.retired.append(self.current)
            self.current = None

    def forget(self) -> None:
        """The budgets may have changed: believe nothing that was known of them."""
        self.is_free = False
        self.retire()

    def is_due(self, now: float) -> bool:
        """Whether there is something to tell though nobody waits."""
        return any(not old.is_given_back or old.is_quiet for old in self.retired) or (
            self.current is not None and self._is_over(now)
        )

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held, and nobody waits."""
        return not (self.current or self.retired or self.waiting or self.trip)

    def _is_over(self, now: float) -> bool:
        return self.current is not None and now >= self.current.usable_until
