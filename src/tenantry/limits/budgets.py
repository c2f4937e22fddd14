"""Budgets on the way of a call: `reserve` before it, `settle` after it, hardly ever a round trip.

A reservation is settled once the ledger has the call's end for good, and left open where nobody can
say so: budgets never count less than the ledger does.

A replica holds one lease a tenant and spends from it in memory. Only when a lease is used up or
nearly over does it ask the authority, for all calls that wait by then at once, and tells what
ended meanwhile. While the authority is away, what is leased can be spent until the lease ends;
then calls are refused (`StoreUnavailable`). Nothing is ever let through without a lease.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from tenantry.core.clock import Clock
from tenantry.core.errors import LeaseLost, StoreBusy, StoreUnavailable, TenantryError
from tenantry.core.ids import TenantId, new_id
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.notices import Listener
from tenantry.limits.account import Account, Waiting
from tenantry.limits.authority import Authority
from tenantry.limits.complexity import Unit, Use, WeightBook
from tenantry.limits.reservation import Reservation
from tenantry.limits.rules import Ask

T = TypeVar("T")
_SQL = load("tenantry.limits")
_LOG = logging.getLogger(__name__)
_ATTEMPTS = 4
"""A lease can end between two looks: when budgets change, or a window is over."""
_ROUNDS = 8
"""Trips after which a call that still could not be served is told to come back."""
_MOST_ACCOUNTS = 50_000
_TICK_S = 0.5
_UNITS: tuple[Unit, ...] = ("tokens", "cost", "requests")


class Budgets:
    """The budgets of every tenant, in this replica.

    Attributes:
        weights: what models' use weighs.
        trips: how often the authority was asked, for figures.
    """

    def __init__(self, authority: Authority, weights: WeightBook, clock: Clock) -> None:
        self.weights = weights
        self.trips = 0
        self._authority = authority
        self._clock = clock
        self._replica = new_id()
        self._accounts: OrderedDict[TenantId, Account] = OrderedDict()

    async def reserve(self, ctx: TenantContext, ask: Ask, most: Use) -> Reservation:
        """Hold back the most a call can use, in every budget that counts it, or in none.

        Raises:
            BudgetExhausted: a budget has no room; nothing was taken.
            StoreUnavailable: there is no lease, and none can be had.
        """
        account = self._account(ctx)
        weights = self.weights.of(ask.provider, ask.model)
        amounts = {unit: weights.amount(unit, most) for unit in _UNITS}
        if not account.waiting:
            found = account.take(ask, amounts, weights, self._clock.monotonic())
            if found is not None:
                return found
        outcome: asyncio.Future[Reservation] = asyncio.get_running_loop().create_future()
        account.waiting.append(Waiting(ctx, ask, amounts, weights, outcome))
        self._start(account)
        try:
            return await outcome
        except asyncio.CancelledError:
            if outcome.done() and not outcome.cancelled() and outcome.exception() is None:
                outcome.result().release()  # it was granted in the moment its caller left
            raise

    async def under_lease(
        self,
        ctx: TenantContext,
        ask: Ask,
        most: Use,
        write: Callable[[UUID | None], Awaitable[T]],
        held: Reservation | None = None,
    ) -> tuple[Reservation, T]:
        """Reserve, and write the intent that names the lease; both or neither.

        Args:
            ctx: the tenant.
            ask: who asks.
            most: an upper bound of what the call can use.
            write: writes the intent under a lease's id; `LeaseLost` when that was over.
            held: what was reserved for the call already.

        Raises:
            BudgetExhausted: a budget has no room; nothing was taken, nothing written.
            StoreUnavailable: no lease can be had, or the intent not be written.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            reservation = held or await self.reserve(ctx, ask, most)
            held = None
            try:
                return reservation, await write(reservation.lease_id)
            except LeaseLost:
                self.lost(ctx, reservation)
                if attempt == _ATTEMPTS:
                    raise
            except BaseException as error:
                if _was_refused(error):
                    reservation.release()
                else:
                    reservation.leave_open()  # it may have been written all the same
                raise
        raise LeaseLost

    def lost(self, ctx: TenantContext, reservation: Reservation) -> None:
        """The database does not know the lease of a reservation any more; nothing was made."""
        reservation.release()
        account = self._accounts.get(ctx.tenant)
        if account is None:
            return
        account.is_free = False
        if account.current is reservation.holding:
            account.retire()

    def forget(self, tenant: TenantId) -> None:
        """A tenant's budgets have changed."""
        account = self._accounts.get(tenant)
        if account is not None:
            account.forget()

    def forget_all(self) -> None:
        """Budgets may have changed without our hearing of it."""
        for account in self._accounts.values():
            account.forget()

    def listener(self) -> Listener:
        """Who hears of changed budgets."""
        return Listener("tenantry_budgets", _SQL["listen_budgets"], self.heard, self.forget_all)

    def heard(self, payload: str) -> None:
        """Take note of a notice: the tenant whose budgets changed."""
        try:
            self.forget(TenantId(UUID(payload)))
        except ValueError:
            self.forget_all()

    async def run(self) -> None:
        """Give back what is not used, until cancelled."""
        while True:
            await asyncio.sleep(_TICK_S)
            self.tick()

    def tick(self) -> None:
        """Begin to tell what is due; drop what is known of tenants that have gone quiet."""
        now = self._clock.monotonic()
        for account in self._accounts.values():
            if account.is_due(now):
                self._start(account)
        while len(self._accounts) > _MOST_ACCOUNTS:
            idle = next((t for t, a in self._accounts.items() if a.is_idle), None)
            if idle is None:
                return
            del self._accounts[idle]

    async def close(self) -> None:
        """Give everything back that calls under way do not need."""
        for _ in range(_ROUNDS):
            for account in self._accounts.values():
                account.retire()
                if account.is_due(self._clock.monotonic()):
                    self._start(account)
            trips = [account.trip for account in self._accounts.values() if account.trip]
            if not trips:
                return
            await asyncio.wait(trips)

    def _account(self, ctx: TenantContext) -> Account:
        account = self._accounts.get(ctx.tenant)
        if account is None:
            account = self._accounts[ctx.tenant] = Account(self._replica, ctx)
        return account

    def _start(self, account: Account) -> None:
        if account.trip is None:
            account.trip = asyncio.create_task(self._trips(account), name="tenantry-budget-trip")

    async def _trips(self, account: Account) -> None:
        """Ask until everybody who waits is served or refused."""
        fruitless = 0
        try:
            while True:
                if account.waiting:
                    account.ctx = account.waiting[-1].ctx
                asked = account.ask(self._clock.monotonic())
                self.trips += 1
                grant = await self._authority.trip(account.ctx, asked.request)
                now = self._clock.monotonic()
                account.install(asked, grant, now)
                fruitless = 0 if account.serve(now) else fruitless + 1
                if not account.waiting:
                    return
                if fruitless >= _ROUNDS:
                    account.fail(LeaseLost())
                    return
        except TenantryError as error:
            account.fail(error)
            _LOG.warning("budget_trip_failed", extra={"code": error.code})
        finally:
            account.trip = None
            account.fail(LeaseLost())  # only after a cancellation is anybody left


def _was_refused(error: BaseException) -> bool:
    """Whether it is sure that nothing was written."""
    if isinstance(error, StoreUnavailable):
        return isinstance(error, StoreBusy)
    return isinstance(error, TenantryError)
