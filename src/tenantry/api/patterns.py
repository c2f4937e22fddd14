"""Verified queries: questions of the caller's tenant with the SQL that answers them."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request

from tenantry.api.bodies import PatternBody
from tenantry.api.credentials import platform_of, tenant
from tenantry.api.members import Limit, known_id
from tenantry.isolation.context import TenantContext
from tenantry.memory.patterns import Pattern

router = APIRouter(prefix="/v1/patterns", tags=["data"])


def pattern_json(found: Pattern) -> dict[str, Any]:
    """A verified query as the API shows it."""
    shown = asdict(found)
    del shown["owner"]
    return {"id": shown.pop("pattern_id"), **shown}


@router.get("")
async def list_patterns(
    request: Request,
    ctx: Annotated[TenantContext, tenant("data:read")],
    cursor: str | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Verified queries at their current versions, oldest first."""
    platform = platform_of(request)
    after = platform.cursors.read_id(ctx.tenant, "patterns", cursor)
    found = await platform.patterns.list_patterns(ctx, after, limit + 1)
    rows = [pattern_json(pattern) for pattern in found]
    return platform.cursors.page(ctx.tenant, "patterns", rows, limit, lambda row: row["id"])


@router.post("", status_code=201)
async def add_pattern(
    request: Request, body: PatternBody, ctx: Annotated[TenantContext, tenant("data:write")]
) -> dict[str, Any]:
    """Teach a question and the SQL that answers it."""
    platform = platform_of(request)
    config = await platform.connectors.find(ctx, body.connector)
    return pattern_json(await platform.patterns.add(ctx, config.connector, body.question, body.sql))


@router.get("/{pattern_id}")
async def get_pattern(
    request: Request, pattern_id: str, ctx: Annotated[TenantContext, tenant("data:read")]
) -> dict[str, Any]:
    """One verified query."""
    return pattern_json(await platform_of(request).patterns.get(ctx, known_id(pattern_id)))


@router.delete("/{pattern_id}", status_code=204)
async def delete_pattern(
    request: Request, pattern_id: str, ctx: Annotated[TenantContext, tenant("data:write")]
) -> None:
    """Forget a verified query."""
    await platform_of(request).patterns.remove(ctx, known_id(pattern_id))
