"""The pools of connections to tenants' databases, in figures for the operator; of no tenant."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request

from tenantry.api.credentials import operator, platform_of
from tenantry.security.auth import Operator

router = APIRouter(prefix="/v1", tags=["pools"])


@router.get("/operator/pools")
async def pool_figures(
    request: Request, _caller: Annotated[Operator, operator("usage:read")]
) -> dict[str, Any]:
    """Connections of this process by level: now, and what happened to them since it started.

    `violated` counts connections that were not their tenant's own: closed, audited, never read.
    """
    platform = platform_of(request)
    found = platform.pools.snapshot()
    settings = platform.settings
    return {
        "open": found.open,
        "most_open": settings.source_connections,
        "most_open_per_tenant": settings.source_connections_per_tenant,
        "closing": found.closing,
        "waiting": found.waiting,
        "levels": {level: asdict(figures) for level, figures in found.levels.items()},
    }
