"""Replicas over one database, and calls of a known size; what the ledger and the budgets say."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

from tenantry.core.clock import Clock
from tenantry.isolation.context import TenantContext
from tenantry.limits.authority import PostgresAuthority
from tenantry.limits.budgets import Budgets
from tenantry.limits.complexity import Use, WeightBook
from tenantry.limits.plans import BudgetPlans
from tenantry.limits.reservation import Reservation
from tenantry.limits.rules import Ask, Budget, Scope
from tenantry.metering.ledger import CallIntent, Ledger, OpenCall
from tenantry.metering.prices import PriceBook
from tenantry.metering.usage import TokenUsage
from tests.worlds import World

PROVIDER, MODEL = "openai", "gpt-5-mini"


def budget(**changes: Any) -> Budget:
    """A budget of the tenant's: a thousand weighted tokens a day, unless said otherwise."""
    usual = Budget(uuid4(), "tenant", "tenant", "*", "tokens", "day", hard_limit=1_000_000)
    return replace(usual, **changes)


def plans(world: World) -> BudgetPlans:
    """Where budgets are set."""
    return BudgetPlans(world.db, world.operator_db, world.audit)


@dataclass
class Replica:
    """One process's budgets and ledger."""

    budgets: Budgets
    ledger: Ledger

    @classmethod
    def of(cls, world: World, clock: Clock | None = None) -> "Replica":
        """A replica over the world's database."""
        authority = PostgresAuthority(world.db, world.cluster.signer, world.audit)
        budgets = Budgets(authority, WeightBook(), clock or world.clock)
        return cls(budgets, Ledger(world.db, world.writer, PriceBook(), world.clock))

    async def reserve(
        self, ctx: TenantContext, tokens: int = 100, assistant: UUID | None = None
    ) -> Reservation:
        """Hold back so many input tokens."""
        return await self.budgets.reserve(ctx, ask(ctx, assistant), Use(input_tokens=tokens))

    async def call(
        self, ctx: TenantContext, tokens: int = 100, assistant: UUID | None = None
    ) -> tuple[Reservation, OpenCall]:
        """Reserve, and write the intent."""

        async def write(lease: UUID | None) -> OpenCall:
            bound = TokenUsage(input_tokens=tokens)
            intent = CallIntent("chat", PROVIDER, MODEL, bound, assistant, lease_id=lease)
            return await self.ledger.open(ctx, intent)

        return await self.budgets.under_lease(
            ctx, ask(ctx, assistant), Use(input_tokens=tokens), write
        )

    async def finish(
        self, ctx: TenantContext, call: tuple[Reservation, OpenCall], tokens: int
    ) -> None:
        """Settle a call in both books."""
        reservation, opened = call
        reservation.settle(Use(input_tokens=tokens))
        await self.ledger.close(ctx, opened, TokenUsage(input_tokens=tokens))

    async def tell(self) -> None:
        """Give everything back that calls under way do not need."""
        await self.budgets.close()


def ask(ctx: TenantContext, assistant: UUID | None = None) -> Ask:
    """What the actor of a context asks."""
    return Ask.of(ctx, PROVIDER, MODEL, assistant)


async def used(world: World, ctx: TenantContext, scope: Scope = "tenant") -> Mapping[str, int]:
    """What is settled and held of each budget of a scope, by subject, together."""
    found = await plans(world).standing(ctx)
    return {s.subject: s.used + s.held for s in found if s.budget.scope == scope}
