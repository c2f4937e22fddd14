"""One call's reservation: taken whole before it is made, settled once, however it ends."""

from uuid import UUID

from tenantry.limits.complexity import NOTHING, Unit, Use, Weights
from tenantry.limits.granting import Amounts
from tenantry.limits.headers import rate_limit_headers
from tenantry.limits.holding import Holding, Portion


class Reservation:
    """What a call may use at most, held back until it says what it used."""

    __slots__ = ("_amounts", "_holding", "_is_over", "_portions", "_weights")

    def __init__(
        self,
        holding: Holding | None,
        portions: tuple[Portion, ...],
        amounts: Amounts,
        weights: Weights,
    ) -> None:
        self._holding = holding
        self._portions = portions
        self._amounts = amounts
        self._weights = weights
        self._is_over = False
        if holding is not None:
            holding.calls += 1
            for portion in portions:
                portion.reserved += amounts[portion.budget.unit]

    @property
    def lease_id(self) -> UUID | None:
        """The lease that the call's intent must name; None for a tenant without budgets."""
        return None if self._holding is None else self._holding.id

    @property
    def holding(self) -> Holding | None:
        """The lease it was taken from."""
        return self._holding

    def settle(self, used: Use) -> None:
        """The ledger has the call's end for good: it used this much, and the rest is free again.

        Only the first word of a reservation counts, this or another.
        """
        if self._is_over:
            return
        self._is_over = True
        if self._holding is None:
            return
        self._holding.calls -= 1
        for portion in self._portions:
            unit: Unit = portion.budget.unit
            portion.reserved -= self._amounts[unit]
            portion.spent += self._weights.amount(unit, used)

    def release(self) -> None:
        """The call was not made, and the ledger holds nothing of it: it used nothing."""
        self.settle(NOTHING)

    def leave_open(self) -> None:
        """Nobody here knows what the ledger holds of the call: it counts as the most it can use.

        What it did not use comes back when the ledger has its end (`reaper`), and not before: it
        may be swept, and then counts with its bound there too.
        """
        if self._is_over:
            return
        self._is_over = True
        if self._holding is not None:
            self._holding.unknown += 1

    def headers(self, now: float) -> dict[str, str]:
        """`RateLimit` headers of the budget that is nearest its limit; empty without one."""
        limited = [p for p in self._portions if p.budget.ceiling]
        if not limited:
            return {}
        tightest = min(limited, key=lambda p: p.remaining / (p.budget.ceiling or 1))
        return rate_limit_headers(tightest, now)
