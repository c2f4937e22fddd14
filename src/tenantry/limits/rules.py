"""Budgets as they are set: whose use is limited, in what unit, over which time, to how much."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from tenantry.isolation.context import TenantContext
from tenantry.limits.complexity import SCALE, Unit
from tenantry.limits.windows import RATE_US, SECONDS, Period

Scope = Literal["tenant", "member", "key", "assistant", "model"]
SetBy = Literal["operator", "tenant"]

EACH = "*"
"""Subject of a budget that each member, key, assistant or model has for itself."""
USUAL_ALERTS = (50, 80, 100)
MOST_AMOUNT = 9_000_000_000_000_000
"""Of a limit in whole tokens or calls: a thousand times as much is still a bigint."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Who wants to make which call.

    Attributes:
        member: the member that asks; None for the platform's own work.
        key: the key it asks with; None for a member's token.
        assistant: the assistant it asks.
        provider: price book key of the provider.
        model: the provider's own name of the model.
    """

    member: UUID | None
    key: UUID | None
    assistant: UUID | None
    provider: str
    model: str

    @classmethod
    def of(
        cls, ctx: TenantContext, provider: str, model: str, assistant: UUID | None = None
    ) -> "Ask":
        """What the actor of a context asks."""
        member = ctx.actor.id if ctx.actor.kind == "member" else None
        return cls(member, ctx.actor.key_id, assistant, provider, model)

    def subject(self, scope: Scope) -> str:
        """Whose use this is in a scope; empty where the call has none, or it is the tenant's."""
        if scope == "tenant":
            return ""
        if scope == "model":
            return f"{self.provider}/{self.model}"
        found = {"member": self.member, "key": self.key, "assistant": self.assistant}
        return str(found[scope] or "")


@dataclass(frozen=True, slots=True)
class Budget:
    """One limit.

    Attributes:
        id: its id.
        set_by: the operator's plan, or the tenant itself.
        scope: whose use it limits.
        subject: which member, key, assistant or model; `*` is each for itself.
        unit: what it counts.
        period: over which time.
        hard_limit: nothing beyond it is served, but the grace; None: nothing is refused.
        soft_limit: reaching it raises an alert, no more; None: there is none.
        grace: how much beyond the hard limit is still served.
        alerts: percentages of the limit that raise an alert.

    Amounts are as `SCALE` says: thousandths of a token, pico-USD, calls.
    """

    id: UUID
    set_by: SetBy
    scope: Scope
    subject: str
    unit: Unit
    period: Period
    hard_limit: int | None = None
    soft_limit: int | None = None
    grace: int = 0
    alerts: tuple[int, ...] = USUAL_ALERTS

    @property
    def ceiling(self) -> int | None:
        """What is never passed; None when nothing is refused."""
        return None if self.hard_limit is None else self.hard_limit + self.grace

    @property
    def is_rate(self) -> bool:
        """Whether it holds at any time (GCRA), rather than in a window of the calendar."""
        return self.period in RATE_US

    @property
    def policy(self) -> str:
        """Its name in `RateLimit` headers."""
        return f"{self.scope}-{self.unit}-{self.period}"

    @property
    def window_s(self) -> int:
        """About how long its window is."""
        return SECONDS[self.period]

    @property
    def whole_scale(self) -> int:
        """Amounts in one whole unit."""
        return SCALE[self.unit]

    def whole(self, amount: int) -> int:
        """An amount in whole units, as people see it; what is begun counts."""
        return -(-amount // SCALE[self.unit])

    def counts(self, ask: Ask) -> str | None:
        """The subject under which it counts a call; None when it does not apply."""
        subject = ask.subject(self.scope)
        if self.scope == "tenant":
            return subject
        if not subject or self.subject not in (EACH, subject):
            return None
        return subject


@dataclass(frozen=True, slots=True)
class CounterKey:
    """One thing that is counted: a budget, for a subject, in a window."""

    budget: UUID
    subject: str
    start: datetime


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All budgets of a tenant, at one time.

    Attributes:
        epoch: changes with every change of them.
        time_zone: the tenant's calendar.
        budgets: in the order in which they are tried.
    """

    epoch: int
    time_zone: str
    budgets: Sequence[Budget] = ()

    def applying(self, ask: Ask) -> Iterator[tuple[Budget, str]]:
        """The budgets that count a call, each with the subject it counts under."""
        for budget in self.budgets:
            subject = budget.counts(ask)
            if subject is not None:
                yield budget, subject
