"""Assistants of the caller's tenant: versions are only added; the current one is a pointer."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from tenantry.api.bodies import AssistantBody, AssistantVersionBody, RollbackBody
from tenantry.api.credentials import platform_of, tenant
from tenantry.api.members import Limit, known_id
from tenantry.isolation.context import TenantContext
from tenantry.platform import Platform
from tenantry.sessions.assistants import AssistantVersion, Draft

router = APIRouter(prefix="/v1/assistants", tags=["assistants"])
_NEWEST = 2**31 - 1


def assistant_json(found: AssistantVersion) -> dict[str, Any]:
    """An assistant at one of its versions, as the API shows it."""
    shown = asdict(found)
    del shown["owner"]
    return {"id": shown.pop("assistant_id"), **shown}


@router.get("")
async def list_assistants(
    request: Request,
    ctx: Annotated[TenantContext, tenant("assistants:read")],
    cursor: str | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Assistants at their current versions, oldest first."""
    platform = platform_of(request)
    after = platform.cursors.read_id(ctx.tenant, "assistants", cursor)
    found = await platform.assistants.list_assistants(ctx, after, limit + 1)
    rows = [assistant_json(version) for version in found]
    return platform.cursors.page(ctx.tenant, "assistants", rows, limit, lambda row: row["id"])


@router.post("", status_code=201)
async def create_assistant(
    request: Request,
    body: AssistantBody,
    ctx: Annotated[TenantContext, tenant("assistants:write")],
) -> dict[str, Any]:
    """Create an assistant with its first version."""
    platform = platform_of(request)
    draft = await _draft(platform, ctx, body)
    return assistant_json(await platform.assistants.create(ctx, body.name, draft))


@router.get("/{assistant_id}")
async def get_assistant(
    request: Request,
    assistant_id: str,
    ctx: Annotated[TenantContext, tenant("assistants:read")],
    version: Annotated[int | None, Query(ge=1, le=_NEWEST)] = None,
) -> dict[str, Any]:
    """An assistant at its current version, or at the one asked for."""
    known = known_id(assistant_id)
    return assistant_json(await platform_of(request).assistants.get(ctx, known, version))


@router.delete("/{assistant_id}", status_code=204)
async def delete_assistant(
    request: Request,
    assistant_id: str,
    ctx: Annotated[TenantContext, tenant("assistants:write")],
) -> None:
    """Remove an assistant with its versions and conversations."""
    await platform_of(request).assistants.delete(ctx, known_id(assistant_id))


@router.get("/{assistant_id}/versions")
async def list_versions(
    request: Request,
    assistant_id: str,
    ctx: Annotated[TenantContext, tenant("assistants:read")],
    before: Annotated[int, Query(ge=1, le=_NEWEST)] = _NEWEST,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Versions of an assistant, newest first; `before` is a version number."""
    found = await platform_of(request).assistants.list_versions(
        ctx, known_id(assistant_id), before, limit
    )
    return {"data": [assistant_json(version) for version in found]}


@router.post("/{assistant_id}/versions", status_code=201)
async def add_version(
    request: Request,
    assistant_id: str,
    body: AssistantVersionBody,
    ctx: Annotated[TenantContext, tenant("assistants:write")],
) -> dict[str, Any]:
    """Add a version and make it the current one."""
    platform = platform_of(request)
    known, draft = known_id(assistant_id), await _draft(platform, ctx, body)
    return assistant_json(await platform.assistants.add_version(ctx, known, draft))


@router.post("/{assistant_id}/rollback")
async def roll_back(
    request: Request,
    assistant_id: str,
    body: RollbackBody,
    ctx: Annotated[TenantContext, tenant("assistants:write")],
) -> dict[str, Any]:
    """Make an existing version the current one again."""
    known = known_id(assistant_id)
    return assistant_json(await platform_of(request).assistants.roll_back(ctx, known, body.version))


async def _draft(
    platform: Platform, ctx: TenantContext, body: AssistantBody | AssistantVersionBody
) -> Draft:
    # A model that is not there is refused at once.
    await platform.providers.resolve(ctx, body.model)
    return Draft(body.instructions, body.model, body.tools, body.settings)
