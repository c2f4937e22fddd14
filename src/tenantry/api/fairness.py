"""Fair turns and breakers: a tenant sees its own, an operator sees who waits for whom."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from tenantry.api.credentials import operator, platform_of, tenant
from tenantry.fairness.breakers import BreakerView
from tenantry.fairness.records import BreakerChanged, Waited
from tenantry.fairness.report import PoolView, TurnsView, longest_waits, pools_now, turns_of
from tenantry.isolation.context import TenantContext
from tenantry.security.auth import Operator

router = APIRouter(prefix="/v1", tags=["fairness"])
Limit = Annotated[int, Query(ge=1, le=1000)]
_HIDDEN = frozenset({"tenant_id", "weight", "fair_share"})
"""What only operators see: a share says how many others are here."""


@router.get("/fairness")
async def own_turns(
    request: Request, ctx: Annotated[TenantContext, tenant("usage:read")]
) -> dict[str, Any]:
    """How the tenant's calls waited for their turns, by account, and what happened lately."""
    admission = platform_of(request).admission
    return {
        "turns": [_own(view) for view in turns_of(admission.capacity, ctx.tenant)],
        "recent": [_record(record) for record in admission.journal.last(ctx.tenant)],
    }


@router.get("/breakers")
async def own_breakers(
    request: Request, ctx: Annotated[TenantContext, tenant("usage:read")]
) -> dict[str, Any]:
    """The tenant's breakers, one an account that it called lately."""
    platform = platform_of(request)
    views = platform.admission.breakers.views(platform.clock.monotonic(), ctx.tenant)
    return {"data": [_breaker(view) for view in views]}


@router.get("/operator/fairness")
async def all_turns(
    request: Request, _caller: Annotated[Operator, operator("usage:read")], limit: Limit = 100
) -> dict[str, Any]:
    """Each pool of slots, and the tenants that waited longest, with service and fair share."""
    platform = platform_of(request)
    capacity, now = platform.admission.capacity, platform.clock.monotonic()
    return {
        "pools": [_pool(view) for view in pools_now(capacity, now, limit)],
        "tenants": [_turns(view) for view in longest_waits(capacity, limit)],
    }


@router.get("/operator/breakers")
async def open_breakers(
    request: Request, _caller: Annotated[Operator, operator("usage:read")]
) -> dict[str, Any]:
    """Breakers of all tenants that are not closed."""
    platform = platform_of(request)
    views = platform.admission.breakers.views(platform.clock.monotonic())
    return {"data": [{"tenant_id": str(view.tenant), **_breaker(view)} for view in views]}


def _own(view: TurnsView) -> dict[str, Any]:
    return {name: value for name, value in _turns(view).items() if name not in _HIDDEN}


def _turns(view: TurnsView) -> dict[str, Any]:
    told = asdict(view)
    return {"tenant_id": str(told.pop("tenant")), **told}


def _pool(view: PoolView) -> dict[str, Any]:
    told = asdict(view)
    owner = told.pop("owner")
    return {**told, "owner_id": None if owner is None else str(owner)}


def _breaker(view: BreakerView) -> dict[str, Any]:
    told = asdict(view)
    del told["tenant"]
    return told


def _record(record: Waited | BreakerChanged) -> dict[str, Any]:
    told = asdict(record)
    del told["tenant"]
    return {"kind": "waited" if isinstance(record, Waited) else "breaker", **told}
