"""Break-glass access: an operator reads one tenant, for a reason, for a while, on record (DB-5)."""

from typing import Annotated, Any

from fastapi import APIRouter, Request

from tenantry.api.bodies import BreakGlassBody, BreakGlassReadBody
from tenantry.api.credentials import operator, platform_of
from tenantry.api.members import known_id
from tenantry.api.problems import request_id_of
from tenantry.api.tenants import named_tenant
from tenantry.security.auth import Operator

router = APIRouter(prefix="/v1", tags=["break-glass"])
_SCOPE = "break-glass"


@router.post("/tenants/{tenant_id}/break-glass", status_code=201)
async def open_grant(
    request: Request,
    tenant_id: str,
    body: BreakGlassBody,
    caller: Annotated[Operator, operator(_SCOPE)],
) -> dict[str, Any]:
    """Leave to read one tenant; recorded in its own audit log, with the reason.

    The token is shown once; with it, and an operator's key, rows can be read.
    """
    platform = platform_of(request)
    found = await named_tenant(platform, tenant_id)
    grant = await platform.break_glass.open(
        caller.id, found.id, body.reason, body.minutes, request_id_of(request)
    )
    return {"id": str(grant.id), "token": grant.token, "expires_at": grant.expires_at}


@router.get("/operator/break-glass")
async def list_grants(
    request: Request, _caller: Annotated[Operator, operator(_SCOPE)], ended: bool = False
) -> dict[str, Any]:
    """Open grants, or all of them, newest first; never a token."""
    rows = await platform_of(request).break_glass.list_grants(include_ended=ended)
    return {"data": [{"id": row.pop("grant_id"), **row} for row in rows]}


@router.post("/operator/break-glass/rows")
async def read_rows(
    request: Request, body: BreakGlassReadBody, _caller: Annotated[Operator, operator(_SCOPE)]
) -> dict[str, Any]:
    """Rows of one table of the tenant of an open grant; each reading is recorded first."""
    glass = platform_of(request).break_glass
    async with glass.read(body.token.get_secret_value(), request_id_of(request)) as reader:
        return {"data": await reader.table(body.table, body.limit, body.skip)}


@router.delete("/operator/break-glass/{grant_id}", status_code=204)
async def close_grant(
    request: Request, grant_id: str, caller: Annotated[Operator, operator(_SCOPE)]
) -> None:
    """End a grant now; what is being read with it ends too."""
    await platform_of(request).break_glass.close(
        known_id(grant_id), caller.id, request_id_of(request)
    )
