"""Alerts: which marks of a budget are reached; each is raised once in a window (COST-5)."""

from collections.abc import Iterator
from dataclasses import dataclass

from tenantry.limits.rules import Budget, CounterKey


@dataclass(frozen=True, slots=True)
class Alert:
    """A mark that was reached.

    Attributes:
        budget: the budget.
        key: whose counter, in which window.
        mark: `soft`, or a percentage of the limit such as `80`.
        amount: what was spent or held when it was reached.
    """

    budget: Budget
    key: CounterKey
    mark: str
    amount: int

    @property
    def limit(self) -> int:
        """The limit that the mark belongs to."""
        return self.budget.soft_limit or 0 if self.mark == "soft" else of(self.budget)


def of(budget: Budget) -> int:
    """What percentages are percentages of."""
    return budget.hard_limit if budget.hard_limit is not None else budget.soft_limit or 0


def crossed(
    budget: Budget, key: CounterKey, committed: int, *, full: bool = False
) -> Iterator[Alert]:
    """The marks at or below what is spent or held; all up to 100 when a call found no room."""
    if budget.soft_limit is not None and (committed >= budget.soft_limit):
        yield Alert(budget, key, "soft", committed)
    for percent in budget.alerts:
        if committed * 100 >= of(budget) * percent or (full and percent <= 100):
            yield Alert(budget, key, str(percent), committed)
