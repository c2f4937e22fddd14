"""The one gate before every call to a model, in one fixed order: breaker, budget, fair turn.

    async with admission.admit(ctx, ask) as ticket:
        await ticket.announce() # what must be durable before the call leaves is written meanwhile
        await ticket.turn()     # the slot: from here on the call may leave
        ...
        ticket.answered()       # the account has begun to answer
        ticket.used(usage)      # what the call has used so far
    ticket.entered(for_good=True) # its end is in the ledger: budgets count what it used

A ticket is left once, on success, error and cancellation alike: the slot is free from then on. What
the call holds of its budgets is kept until the ledger has its end. A refused call has cost
nothing: not a slot, not a place in a queue. Nobody holds a slot while waiting for another: an
assistant's turn takes one for each model call, and gives it back before its tools run.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from uuid import UUID

from tenantry.core.clock import Clock
from tenantry.core.errors import (
    AccountLimited,
    BreakerOpen,
    CredentialRefused,
    ProviderError,
    ProviderMalformed,
    ProviderTimeout,
    ProviderUnavailable,
    StoreUnavailable,
)
from tenantry.core.events import AuditSink
from tenantry.fairness.accounts import AccountTerms
from tenantry.fairness.breaker import Breaker, BreakerState, Closed, Permit, Verdict
from tenantry.fairness.breakers import Breakers
from tenantry.fairness.bulkheads import Lane
from tenantry.fairness.capacity import Capacity
from tenantry.fairness.pool import Pool, Wish
from tenantry.fairness.records import BreakerChanged, Journal
from tenantry.fairness.turns import Turn
from tenantry.isolation.context import TenantContext
from tenantry.limits.budgets import Budgets
from tenantry.limits.complexity import Use
from tenantry.limits.reservation import Reservation
from tenantry.limits.rules import Ask as BudgetAsk
from tenantry.metering.ledger import CallIntent, Ledger, OpenCall
from tenantry.metering.usage import TokenUsage
from tenantry.providers.base import UpstreamAccount
from tenantry.providers.calls import Overloaded

_OUTPUT_WEIGHT = 4
_CACHED_WEIGHT = 0.1
_GRACE_S = 5.0


def units(usage: TokenUsage) -> float:
    """What a call counts for in fair turns: tokens, an output token as four, a cached as a tenth.

    That is about what they take of a provider's machines, and what they cost.
    """
    fresh = usage.input_tokens - usage.cached_tokens
    prompt = fresh + _CACHED_WEIGHT * usage.cached_tokens
    return max(1.0, prompt + _OUTPUT_WEIGHT * usage.output_tokens)


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that wants to leave.

    Attributes:
        account: whose key it goes out with.
        intent: what the ledger is told of it, with the most it can use.
        lane: in which it waits.
    """

    account: UpstreamAccount
    intent: CallIntent
    lane: Lane = "interactive"

    def budgeted(self, ctx: TenantContext) -> BudgetAsk:
        """Whose budgets it counts in."""
        intent = self.intent
        return BudgetAsk.of(ctx, intent.provider, intent.model, intent.assistant_id)


class Admission:
    """Lets calls of every tenant through, each when it is its turn."""

    def __init__(
        self,
        terms: Mapping[str, AccountTerms],
        budgets: Budgets,
        ledger: Ledger,
        audit: AuditSink,
        clock: Clock,
    ) -> None:
        """With the terms of the platform's accounts, by name.

        Attributes:
            budgets: every tenant's budgets.
            ledger: where calls are announced.
            breakers: every breaker of this process.
            capacity: every pool of it, and what tenants weigh.
            journal: what happened lately.
        """
        self.budgets = budgets
        self.ledger = ledger
        self.journal = Journal()
        self.breakers = Breakers()
        self.capacity = Capacity(terms, clock, self.journal)
        self._audit = audit
        self._clock = clock

    @asynccontextmanager
    async def admit(self, ctx: TenantContext, ask: Ask) -> AsyncIterator["Ticket"]:
        """A ticket for the block; see `enter`."""
        ticket = await self.enter(ctx, ask)
        try:
            yield ticket
        except BaseException as error:
            await ticket.leave(error)
            raise
        await ticket.leave(None)

    async def enter(self, ctx: TenantContext, ask: Ask) -> "Ticket":
        """A ticket that must `leave`; its turn has still to be awaited.

        Raises:
            BreakerOpen, AccountLimited, CredentialRefused: the account is left alone just now.
            BudgetExhausted: a budget has no room for the most the call can use.
            StoreUnavailable: nobody can say whether there is room.
            QueueFull: too much of the tenant waits already.
            FairTurnDeadline: its turn would not come in time.
        """
        now = self._clock.monotonic()
        breaker = self.breakers.of(ctx.tenant, ask.account)
        permit = breaker.ask(now, max(0.0, ctx.deadline - now) + _GRACE_S)
        if isinstance(permit, Closed):
            raise _refusal(ask.account, permit)
        held: Reservation | None = None
        try:
            budgeted, most = ask.budgeted(ctx), self.most(ask)
            held = await self.budgets.reserve(ctx, budgeted, most)
            pool = self.capacity.of(ask.account)
            weight, count = self.capacity.weight(ctx.tenant), units(ask.intent.bound)
            turn = pool.join(Wish(ctx.tenant, weight, count, ask.lane, ctx.deadline))
        except BaseException:
            if held is not None:
                held.release()
            breaker.left(permit)
            raise
        return Ticket(self, ctx, ask, _Pass(breaker, permit, held, budgeted, most), pool, turn)

    def most(self, ask: Ask) -> Use:
        """The most a call can use, as budgets count."""
        return self.use(ask, ask.intent.bound)

    def use(self, ask: Ask, usage: TokenUsage) -> Use:
        """What a call used, as budgets count."""
        return Use(
            usage.input_tokens,
            usage.cached_tokens,
            usage.output_tokens,
            cost_picousd=self.ledger.cost(ask.intent, usage),
        )

    async def judged(
        self, ctx: TenantContext, ask: Ask, passed: "_Pass", failure: "_Failure"
    ) -> None:
        """Tell the breaker of a failed call; the tenant, if it is the credential's fault."""
        breaker, before = passed.breaker, passed.breaker.state
        changed = breaker.failed(
            passed.permit,
            failure.verdict,
            self._clock.monotonic(),
            failure.asked_s,
            self.breakers.jitter,
        )
        if not changed:
            return
        self.noted(ctx, ask, before, breaker.state)
        if breaker.state == "credential" and before != "credential":
            detail = {"account": ask.account.name, "payer": ask.account.payer}
            event = ctx.event(
                "provider.credential_refused", "failed", "model", ask.account.name, detail
            )
            with suppress(StoreUnavailable):  # what the provider said is told all the same
                await self._audit.record(event)

    def noted(
        self, ctx: TenantContext, ask: Ask, before: BreakerState, after: BreakerState
    ) -> None:
        """Record that a breaker changed."""
        now = self._clock.now()
        self.journal(BreakerChanged(ctx.tenant, now, ask.account.name, before, after))

    def seconds(self) -> float:
        """Monotonic seconds."""
        return self._clock.monotonic()


@dataclass(slots=True)
class _Pass:
    """What a call was let through with."""

    breaker: Breaker
    permit: Permit
    held: Reservation
    budgeted: BudgetAsk
    most: Use


@dataclass(frozen=True, slots=True)
class _Failure:
    verdict: Verdict
    asked_s: float = 0.0


class Ticket:
    """Leave for one call; settled by `leave`, once."""

    def __init__(
        self,
        admission: Admission,
        ctx: TenantContext,
        ask: Ask,
        passed: _Pass,
        pool: Pool,
        turn: Turn,
    ) -> None:
        self._admission = admission
        self._ctx = ctx
        self._ask = ask
        self._passed = passed
        self._pool = pool
        self._turn = turn
        self._sent_at: float | None = None
        self._is_answered = False
        self._usage: TokenUsage | None = None
        self._is_announced = False
        self._is_over = False

    @property
    def queue_s(self) -> float:
        """How long the call waited for its turn."""
        return max(0.0, self._turn.started - self._turn.since)

    @property
    def headers(self) -> dict[str, str]:
        """`RateLimit` headers of the budget that is nearest its limit."""
        return self._passed.held.headers(self._admission.seconds())

    async def announce(self) -> OpenCall:
        """Write the call's intent, which names the lease of its budgets; durable on return.

        Raises:
            BudgetExhausted: the lease was over, and there is no room for another.
            InvalidRequest: the intent's figures are none that can be.
            StoreUnavailable: it cannot be written; the call must then not be made.
        """

        async def write(lease: UUID | None) -> OpenCall:
            intent = self._ask.intent
            if lease is not None:
                intent = replace(intent, lease_id=lease)
            return await self._admission.ledger.open(self._ctx, intent)

        passed = self._passed
        passed.held, opened = await self._admission.budgets.under_lease(
            self._ctx, passed.budgeted, passed.most, write, passed.held
        )
        self._is_announced = True
        return opened

    async def turn(self) -> None:
        """Return when the call may leave.

        Raises:
            FairTurnDeadline: its turn did not come in time.
        """
        await self._pool.wait(self._turn)
        self._sent_at = self._admission.seconds()

    def answered(self) -> None:
        """The account has begun to answer; the first time counts."""
        if self._is_answered or self._sent_at is None:
            return
        self._is_answered = True
        now, breaker = self._admission.seconds(), self._passed.breaker
        before = breaker.state
        if breaker.answered(self._passed.permit, now, now - self._sent_at):
            self._admission.noted(self._ctx, self._ask, before, breaker.state)
        self._pool.answered()

    def used(self, usage: TokenUsage) -> None:
        """What the call has used so far; the last word counts when it is settled."""
        self._usage = usage

    async def leave(self, error: BaseException | None) -> None:
        """The call is over, however: give the slot back, and say what came of it.

        Budgets wait for `entered`, unless the call was never announced: then it used nothing.
        """
        if self._is_over:
            return
        self._is_over = True
        was_sent = self._sent_at is not None
        used = None
        if was_sent:
            used = 0.0 if self._usage is None else units(self._usage)
        self._pool.give_back(self._turn, used)
        if not self._is_announced:
            self._passed.held.release()
        failure = _failure(error) if was_sent else None
        if failure is None:
            if error is None or _is_answer(error):
                self.answered()
            self._passed.breaker.left(self._passed.permit)
            return
        if failure.verdict == "limited":
            self._pool.overloaded()
        elif failure.verdict == "failed":
            self._pool.troubled(self._ctx.tenant)
        await self._admission.judged(self._ctx, self._ask, self._passed, failure)

    async def entering(self, closing: Awaitable[object]) -> None:
        """Await what enters the call's end into the ledger, and settle its budgets by that."""
        try:
            await closing
        except BaseException:
            self.entered(for_good=False)
            raise
        self.entered(for_good=True)

    def entered(self, *, for_good: bool) -> None:
        """The call's end is in the ledger: budgets get back what it did not use.

        Unless `for_good`, nobody knows whether it is there: then they count it as the ledger does
        while it is open, as the most it can use.
        """
        if not for_good:
            self._passed.held.leave_open()
        elif self._sent_at is None or self._passed.held.holding is None:
            self._passed.held.release()
        else:
            used = self._usage or TokenUsage()
            self._passed.held.settle(self._admission.use(self._ask, used))


def _failure(error: BaseException | None) -> _Failure | None:
    """What an error says of the account; None if it says nothing against it."""
    if isinstance(error, CredentialRefused):
        return _Failure("credential")
    if isinstance(error, Overloaded):
        return _Failure("limited", error.retry_after_s or 0.0)
    if isinstance(error, TimeoutError):
        return _Failure("failed")
    if isinstance(error, ProviderUnavailable | ProviderTimeout | ProviderMalformed):
        return _Failure("failed", error.retry_after_s or 0.0)
    return None


def _is_answer(error: BaseException) -> bool:
    """Whether the account is well, and what it was asked was not."""
    return isinstance(error, ProviderError)


def _refusal(account: UpstreamAccount, closed: Closed) -> ProviderError:
    wait_s = closed.retry_after_s
    if closed.state == "credential":
        return CredentialRefused(
            f"The model provider refuses the credential of the account '{account.name}'. "
            "Replace it, or have it reinstated.",
            retry_after_s=wait_s,
        )
    if closed.state == "limited":
        return AccountLimited(retry_after_s=wait_s)
    return BreakerOpen(retry_after_s=wait_s)
