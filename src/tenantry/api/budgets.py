"""Budgets and alerts: a tenant's own, and the operator's plan for a tenant (LIM-1, COST-5)."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request

from tenantry.api.bodies import BudgetBody, TimeZoneBody, WeightsBody
from tenantry.api.credentials import operator, platform_of, record_operator, tenant
from tenantry.api.members import known_id
from tenantry.api.tenants import named_tenant
from tenantry.core.errors import InvalidRequest
from tenantry.core.ids import parse_id
from tenantry.isolation.context import TenantContext
from tenantry.limits.complexity import SCALE, Weights
from tenantry.limits.plans import Standing
from tenantry.limits.rules import EACH, Budget
from tenantry.security.auth import Operator

router = APIRouter(prefix="/v1", tags=["budgets"])


def budget_json(budget: Budget) -> dict[str, Any]:
    """A budget as the API shows it: in whole tokens, pico-USD, or calls."""
    return {
        "id": str(budget.id),
        "set_by": budget.set_by,
        "scope": budget.scope,
        "subject": budget.subject,
        "unit": budget.unit,
        "period": budget.period,
        "hard_limit": None if budget.hard_limit is None else budget.whole(budget.hard_limit),
        "soft_limit": None if budget.soft_limit is None else budget.whole(budget.soft_limit),
        "grace": budget.whole(budget.grace),
        "alerts": list(budget.alerts),
    }


def standing_json(found: Standing) -> dict[str, Any]:
    """A budget with what is used of it."""
    budget = found.budget
    ceiling, taken = budget.ceiling, found.used + found.held
    return {
        **budget_json(budget),
        "of": found.subject,
        "used": budget.whole(found.used),
        "held": budget.whole(found.held),
        "remaining": None if ceiling is None else max(0, ceiling - taken) // budget.whole_scale,
        "resets_at": None if budget.is_rate else found.window.end,
    }


@router.get("/budgets")
async def list_budgets(
    request: Request, ctx: Annotated[TenantContext, tenant("usage:read")]
) -> dict[str, Any]:
    """Every budget that holds for the tenant, the operator's plan too, with what is used of it."""
    found = await platform_of(request).plans.standing(ctx)
    return {"data": [standing_json(line) for line in found]}


@router.put("/budgets")
async def set_budget(
    request: Request, body: BudgetBody, ctx: Annotated[TenantContext, tenant("usage:write")]
) -> dict[str, Any]:
    """Set a budget of the tenant's own; one on the same use is replaced."""
    await _known_subject(request, ctx, body)
    return budget_json(await platform_of(request).plans.set(ctx, _budget(body)))


@router.delete("/budgets/{budget_id}", status_code=204)
async def remove_budget(
    request: Request, budget_id: str, ctx: Annotated[TenantContext, tenant("usage:write")]
) -> None:
    """Remove a budget of the tenant's own."""
    await platform_of(request).plans.remove(ctx, known_id(budget_id))


@router.get("/alerts")
async def list_alerts(
    request: Request,
    ctx: Annotated[TenantContext, tenant("usage:read")],
    before: datetime | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """Marks of budgets that were reached, newest first; `before` leads to older ones."""
    if before is not None and before.tzinfo is None:
        raise InvalidRequest("before: a moment with its time zone is needed.")
    rows = await platform_of(request).plans.alerts(ctx, before, limit)
    return {"data": [_alert_json(row) for row in rows]}


@router.get("/tenants/{tenant_id}/budgets")
async def show_plan(
    request: Request, tenant_id: str, _caller: Annotated[Operator, operator("tenants:read")]
) -> dict[str, Any]:
    """The operator's plan for a tenant, and the tenant's time zone."""
    platform = platform_of(request)
    found = await named_tenant(platform, tenant_id)
    time_zone, budgets = await platform.plans.plan(found.id)
    return {"time_zone": time_zone, "data": [budget_json(budget) for budget in budgets]}


@router.put("/tenants/{tenant_id}/budgets")
async def set_plan(
    request: Request,
    tenant_id: str,
    body: BudgetBody,
    caller: Annotated[Operator, operator("tenants:write")],
) -> dict[str, Any]:
    """Set a budget of the operator's plan for a tenant; one on the same use is replaced."""
    platform = platform_of(request)
    found = await named_tenant(platform, tenant_id)
    stored = await platform.plans.set_plan(found.id, _budget(body))
    await record_operator(request, caller, "plan.set", str(stored.id), owner=found.id)
    return budget_json(stored)


@router.delete("/tenants/{tenant_id}/budgets/{budget_id}", status_code=204)
async def remove_plan(
    request: Request,
    tenant_id: str,
    budget_id: str,
    caller: Annotated[Operator, operator("tenants:write")],
) -> None:
    """Remove a budget of the operator's plan for a tenant."""
    platform = platform_of(request)
    found = await named_tenant(platform, tenant_id)
    await platform.plans.remove_plan(found.id, known_id(budget_id))
    await record_operator(request, caller, "plan.removed", budget_id, owner=found.id)


@router.put("/tenants/{tenant_id}/time-zone")
async def set_time_zone(
    request: Request,
    tenant_id: str,
    body: TimeZoneBody,
    caller: Annotated[Operator, operator("tenants:write")],
) -> dict[str, Any]:
    """Choose the calendar by which a tenant's hours, days and months begin."""
    platform = platform_of(request)
    found = await named_tenant(platform, tenant_id)
    await platform.plans.set_time_zone(found.id, body.time_zone)
    await record_operator(request, caller, "plan.time_zone", body.time_zone, owner=found.id)
    return {"time_zone": body.time_zone}


@router.get("/operator/weights")
async def list_weights(
    request: Request, _caller: Annotated[Operator, operator("tenants:read")]
) -> dict[str, Any]:
    """What models weigh, in thousandths of a token, where it is not the usual."""
    found = await platform_of(request).plans.weights()
    return {"data": [_weights_json(*name, weights) for name, weights in found.items()]}


@router.put("/operator/weights")
async def set_weights(
    request: Request, body: WeightsBody, caller: Annotated[Operator, operator("tenants:write")]
) -> dict[str, Any]:
    """Choose what a model weighs, in thousandths of a token; `*` is every model of a provider."""
    plans = platform_of(request).plans
    weights = Weights(body.input, body.cached, body.output, body.tool_call, body.tool_second)
    await plans.set_weights(body.provider, body.model, weights)
    platform_of(request).admission.budgets.weights.replace(await plans.weights())
    await record_operator(request, caller, "weights.set", f"{body.provider}/{body.model}")
    return _weights_json(body.provider, body.model, weights)


def _budget(body: BudgetBody) -> Budget:
    scale = SCALE[body.unit]
    return Budget(
        UUID(int=0),
        "tenant",
        body.scope,
        body.subject,
        body.unit,
        body.period,
        None if body.hard_limit is None else body.hard_limit * scale,
        None if body.soft_limit is None else body.soft_limit * scale,
        body.grace * scale,
        tuple(body.alerts),
    )


async def _known_subject(request: Request, ctx: TenantContext, body: BudgetBody) -> None:
    """Refuse a subject that cannot be one.

    Raises:
        InvalidRequest: it is no id.
        NotFound: the tenant has no such assistant.
    """
    if body.subject == EACH or body.scope in {"tenant", "model"}:
        return
    known = parse_id(body.subject)
    if known is None:
        raise InvalidRequest(f"subject: the id of a {body.scope}, or '*' for each.")
    if body.scope == "assistant":
        await platform_of(request).assistants.get(ctx, known)


def _alert_json(row: Any) -> dict[str, Any]:
    scale = SCALE[row["unit"]]
    return {
        "budget_id": str(row["budget_id"]),
        "scope": row["scope"],
        "of": row["subject"],
        "unit": row["unit"],
        "period": row["period"],
        "mark": row["mark"],
        "amount": row["amount"] // scale,
        "limit": row["limit_amount"] // scale,
        "window_start": row["window_start"],
        "reached_at": row["reached_at"],
    }


def _weights_json(provider: str, model: str, weights: Weights) -> dict[str, Any]:
    return {
        "provider": provider,
        "model": model,
        "input": weights.input,
        "cached": weights.cached,
        "output": weights.output,
        "tool_call": weights.tool_call,
        "tool_second": weights.tool_second,
    }
