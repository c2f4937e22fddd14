"""Setting budgets: the operator's plan for a tenant, and a tenant's own, stricter limits.

Both hold at once: a call must pass every budget that counts it, so that a tenant's own can only
ever tighten the plan. The database keeps the two apart (`guard_plan`), ends every lease when one
changes, and tells all replicas.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from tenantry.core.errors import InvalidRequest, NotFound
from tenantry.core.events import AuditSink
from tenantry.core.ids import TenantId, new_id
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.statements import RoleDatabase, Statements
from tenantry.isolation.transaction import Database
from tenantry.limits.authority import budget_of, read_state
from tenantry.limits.complexity import Weights
from tenantry.limits.granting import Counter, State
from tenantry.limits.rules import EACH, MOST_AMOUNT, Budget, CounterKey, SetBy
from tenantry.limits.windows import Window, window_at, zone

_SQL = load("tenantry.limits")
_MOST_BUDGETS = 100
"""Of each side: they are all looked at with every grant."""
_MOST_COUNTERS = 1000
_MOST_PERCENT = 1000


@dataclass(frozen=True, slots=True)
class Standing:
    """A budget, and how far it is used.

    Attributes:
        budget: the budget.
        subject: whose use; empty for the tenant's.
        used: what is settled, of a rate what has not drained yet.
        held: what replicas may still spend of it.
        window: the window it counts in.
    """

    budget: Budget
    subject: str
    used: int
    held: int
    window: Window


class BudgetPlans:
    """Sets and shows budgets, of one tenant at a time."""

    def __init__(self, db: Database, operator: RoleDatabase, audit: AuditSink) -> None:
        self._db = db
        self._operator = operator
        self._audit = audit

    async def set(self, ctx: TenantContext, budget: Budget) -> Budget:
        """Set one of the tenant's own budgets; one on the same use is replaced.

        Raises:
            InvalidRequest: a figure is not valid, or there are too many budgets.
        """
        wanted = replace(_checked(budget), set_by="tenant")
        async with self._db.tenant(ctx) as tx:
            await tx.row(_SQL["lock_plan"])
            stored = await _set(tx, ctx.tenant, wanted)
        await self._record(ctx, "budget.set", stored)
        return stored

    async def remove(self, ctx: TenantContext, budget_id: UUID) -> None:
        """Remove one of the tenant's own budgets.

        Raises:
            NotFound: it has no such budget of its own.
        """
        async with self._db.tenant(ctx) as tx:
            await tx.row(_SQL["lock_plan"])
            await _remove(tx, ctx.tenant, budget_id, "tenant")
        event = ctx.event("budget.removed", "allowed", "limits", str(budget_id))
        await self._audit.record(event)

    async def standing(self, ctx: TenantContext) -> list[Standing]:
        """Every budget of the tenant, the plan's too, with what is used in its present window.

        One that each member, key, assistant or model has for itself is listed for each of them
        that has used it, the fullest first.
        """
        async with self._db.tenant(ctx) as tx:
            state = await read_state(tx, [""])
            if state is None:
                return []
            rows = await tx.rows(_SQL["live_counters"], most=_MOST_COUNTERS)
        for row in rows:
            key = CounterKey(row["budget_id"], row["subject"], row["window_start"])
            window = Window(row["window_start"], row["window_end"])
            state.counters[key] = Counter(window, row["used"], row["tat_us"])
        return [line for budget in state.rulebook.budgets for line in _lines(state, budget)]

    async def alerts(
        self, ctx: TenantContext, before: datetime | None, most: int
    ) -> list[Mapping[str, Any]]:
        """Alerts that were raised before a moment, the newest first."""
        async with self._db.tenant(ctx) as tx:
            return list(await tx.rows(_SQL["list_alerts"], before=before, most=most))

    async def set_plan(self, tenant: TenantId, budget: Budget) -> Budget:
        """Set a budget of the operator's plan for a tenant; one on the same use is replaced.

        Raises:
            InvalidRequest: a figure is not valid, or there are too many budgets.
        """
        wanted = replace(_checked(budget), set_by="operator")
        async with self._operator.transaction() as statements:
            await statements.row(_SQL["lock_plan_of"], tenant_id=tenant)
            return await _set(statements, tenant, wanted)

    async def remove_plan(self, tenant: TenantId, budget_id: UUID) -> None:
        """Remove a budget of the operator's plan.

        Raises:
            NotFound: the plan has no such budget.
        """
        async with self._operator.transaction() as statements:
            await statements.row(_SQL["lock_plan_of"], tenant_id=tenant)
            await _remove(statements, tenant, budget_id, "operator")

    async def plan(self, tenant: TenantId) -> tuple[str, list[Budget]]:
        """A tenant's time zone, and the budgets of the operator's plan for it."""
        async with self._operator.transaction() as statements:
            name = await statements.value(_SQL["time_zone_of"], tenant_id=tenant)
            rows = await statements.rows(_SQL["list_plan"], tenant_id=tenant)
        return str(name or "UTC"), [budget_of(row) for row in rows]

    async def set_time_zone(self, tenant: TenantId, name: str) -> None:
        """Choose the calendar in which a tenant's hours, days and months begin.

        Windows of the new calendar begin with nothing used.

        Raises:
            InvalidRequest: there is no such time zone.
        """
        zone(name)
        async with self._operator.transaction() as statements:
            await statements.row(_SQL["lock_plan_of"], tenant_id=tenant)
            await statements.execute(_SQL["set_time_zone"], tenant_id=tenant, time_zone=name)

    async def weights(self) -> dict[tuple[str, str], Weights]:
        """What models weigh, where it is not the usual."""
        async with self._operator.autocommit() as statements:
            rows = await statements.rows(_SQL["list_weights"])
        return {(row.pop("provider"), row.pop("model")): Weights(**row) for row in rows}

    async def set_weights(self, provider: str, model: str, weights: Weights) -> None:
        """Choose what a model weighs; `*` is every model of the provider without an own row."""
        async with self._operator.autocommit() as statements:
            await statements.execute(
                _SQL["set_weights"],
                provider=provider,
                model=model,
                input=weights.input,
                cached=weights.cached,
                output=weights.output,
                tool_call=weights.tool_call,
                tool_second=weights.tool_second,
            )

    async def remove_weights(self, provider: str, model: str) -> None:
        """Let a model weigh the usual again.

        Raises:
            NotFound: it has no row.
        """
        async with self._operator.autocommit() as statements:
            if not await statements.execute(_SQL["remove_weights"], provider=provider, model=model):
                raise NotFound

    async def _record(self, ctx: TenantContext, action: str, budget: Budget) -> None:
        detail = {
            "scope": budget.scope,
            "unit": budget.unit,
            "period": budget.period,
            "hard_limit": budget.hard_limit,
            "soft_limit": budget.soft_limit,
            "grace": budget.grace,
        }
        await self._audit.record(ctx.event(action, "allowed", "limits", str(budget.id), detail))


async def _set(statements: Statements, tenant: TenantId, budget: Budget) -> Budget:
    count = await statements.value(_SQL["count_budgets"], tenant_id=tenant, set_by=budget.set_by)
    if count >= _MOST_BUDGETS:
        raise InvalidRequest(f"There are at most {_MOST_BUDGETS} budgets.")
    stored = await statements.value(
        _SQL["set_budget"],
        tenant_id=tenant,
        budget_id=new_id(),
        set_by=budget.set_by,
        scope=budget.scope,
        subject=budget.subject,
        unit=budget.unit,
        period=budget.period,
        hard_limit=budget.hard_limit,
        soft_limit=budget.soft_limit,
        grace=budget.grace,
        alerts=list(budget.alerts),
    )
    return replace(budget, id=stored)


async def _remove(statements: Statements, tenant: TenantId, budget_id: UUID, set_by: SetBy) -> None:
    removed = await statements.execute(
        _SQL["remove_budget"], tenant_id=tenant, budget_id=budget_id, set_by=set_by
    )
    if not removed:
        raise NotFound


def _checked(budget: Budget) -> Budget:
    if budget.hard_limit is None and budget.soft_limit is None:
        raise InvalidRequest("A budget needs a hard_limit, a soft_limit, or both.")
    if budget.scope == "tenant" and budget.subject != EACH:
        raise InvalidRequest("subject: the budget of the tenant itself has none.")
    for name, least, amount in (
        ("hard_limit", 0, budget.hard_limit),
        ("soft_limit", 1, budget.soft_limit),
        ("grace", 0, budget.grace),
    ):
        if amount is not None and not least <= amount <= MOST_AMOUNT * budget.whole_scale // 2:
            raise InvalidRequest(f"{name}: a whole number from {least} to {MOST_AMOUNT // 2}.")
    if budget.hard_limit is None and budget.grace:
        raise InvalidRequest("grace: goes with a hard_limit.")
    if not all(1 <= percent <= _MOST_PERCENT for percent in budget.alerts):
        raise InvalidRequest(f"alerts: percentages from 1 to {_MOST_PERCENT}.")
    return replace(budget, alerts=tuple(sorted(set(budget.alerts))))


def _lines(state: State, budget: Budget) -> Sequence[Standing]:
    window = window_at(budget.period, state.now, zone(state.rulebook.time_zone))
    keys = [k for k in state.counters if k.budget == budget.id and k.start == window.start]
    if not keys and budget.scope == "tenant":
        keys = [CounterKey(budget.id, "", window.start)]
    elif not keys:
        keys = [CounterKey(budget.id, budget.subject, window.start)]
    for key in keys:
        state.counters.setdefault(key, Counter(window))
    return [
        Standing(budget, key.subject, state.used(key, budget), state.held(key), window)
        for key in keys
    ]
