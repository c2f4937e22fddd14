"""The audit log: a tenant reads its own chain, an operator the platform's, and verifies all."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from tenantry.api.credentials import operator, platform_of, tenant
from tenantry.isolation.context import TenantContext
from tenantry.security.audit import NEWEST, tenant_events
from tenantry.security.auth import Operator

router = APIRouter(prefix="/v1", tags=["audit"])
Before = Annotated[int, Query(ge=1, le=NEWEST)]
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("/audit")
async def list_events(
    request: Request,
    ctx: Annotated[TenantContext, tenant("audit:read")],
    before: Before = NEWEST,
    limit: Limit = 100,
    outcome: Literal["allowed", "refused", "failed"] | None = None,
) -> dict[str, Any]:
    """The tenant's own audit events, newest first; `before` is a sequence number."""
    rows = await tenant_events(ctx, platform_of(request).db, before, limit, outcome)
    return {"data": rows}


@router.get("/operator/audit")
async def list_platform_events(
    request: Request,
    _caller: Annotated[Operator, operator("audit:read")],
    before: Before = NEWEST,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Events that belong to no tenant: operators' acts and failed sign-ins."""
    return {"data": await platform_of(request).audit.platform_events(before, limit)}


@router.post("/operator/audit/verify")
async def verify(
    request: Request, _caller: Annotated[Operator, operator("audit:read")]
) -> dict[str, Any]:
    """Anchor and recompute every chain; `defects` is empty when the log is whole."""
    platform = platform_of(request)
    anchor = await platform.audit.anchor()
    found = await platform.audit.verify()
    defects = [{"tenant_id": d.tenant, "seq": d.seq, "problem": d.problem} for d in found.defects]
    return {
        "whole": not defects,
        "events": found.events,
        "chains": found.chains,
        "anchor": anchor,
        "defects": defects,
    }
