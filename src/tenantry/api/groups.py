"""Groups of the caller's tenant, by which documents are restricted."""

from typing import Annotated, Any

from fastapi import APIRouter, Request

from tenantry.api.bodies import GroupBody
from tenantry.api.credentials import platform_of, tenant
from tenantry.api.members import Limit, known_id, member_json
from tenantry.isolation.context import TenantContext

router = APIRouter(prefix="/v1/groups", tags=["groups"])


def group_json(row: dict[str, Any]) -> dict[str, Any]:
    """A group as the API shows it."""
    return {"id": row["group_id"], **{k: v for k, v in row.items() if k != "group_id"}}


@router.get("")
async def list_groups(
    request: Request,
    ctx: Annotated[TenantContext, tenant("members:read")],
    cursor: str | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Groups, oldest first, each with how many members it has."""
    platform = platform_of(request)
    after = platform.cursors.read_id(ctx.tenant, "groups", cursor)
    rows = [group_json(r) for r in await platform.groups.list_groups(ctx, after, limit + 1)]
    return platform.cursors.page(ctx.tenant, "groups", rows, limit, lambda row: row["id"])


@router.post("", status_code=201)
async def create_group(
    request: Request, body: GroupBody, ctx: Annotated[TenantContext, tenant("members:write")]
) -> dict[str, Any]:
    """Add a group; nobody is in it yet."""
    return group_json(await platform_of(request).groups.create(ctx, body.name))


@router.delete("/{group_id}", status_code=204)
async def delete_group(
    request: Request, group_id: str, ctx: Annotated[TenantContext, tenant("members:write")]
) -> None:
    """Remove a group; refused while a document is restricted to it."""
    await platform_of(request).groups.delete(ctx, known_id(group_id))


@router.get("/{group_id}/members")
async def list_group_members(
    request: Request,
    group_id: str,
    ctx: Annotated[TenantContext, tenant("members:read")],
    cursor: str | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Members of a group, oldest first."""
    platform, group = platform_of(request), known_id(group_id)
    after = platform.cursors.read_id(ctx.tenant, "group members", cursor)
    found = await platform.groups.list_members(ctx, group, after, limit + 1)
    rows = [member_json(row) for row in found]
    return platform.cursors.page(ctx.tenant, "group members", rows, limit, lambda row: row["id"])


@router.put("/{group_id}/members/{member_id}", status_code=204)
async def add_to_group(
    request: Request,
    group_id: str,
    member_id: str,
    ctx: Annotated[TenantContext, tenant("members:write")],
) -> None:
    """Put a member into a group: it reads what the group may from now on."""
    await platform_of(request).groups.add(ctx, known_id(group_id), known_id(member_id))


@router.delete("/{group_id}/members/{member_id}", status_code=204)
async def remove_from_group(
    request: Request,
    group_id: str,
    member_id: str,
    ctx: Annotated[TenantContext, tenant("members:write")],
) -> None:
    """Take a member out of a group: it stops reading what the group may, at once."""
    await platform_of(request).groups.remove(ctx, known_id(group_id), known_id(member_id))
