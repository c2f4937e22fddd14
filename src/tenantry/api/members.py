"""Members of the caller's tenant and their API keys."""

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request

from tenantry.api.bodies import KeyBody, MemberBody, MemberChangeBody, RotationBody
from tenantry.api.credentials import platform_of, tenant
from tenantry.core.errors import NotFound
from tenantry.core.ids import MemberId, parse_id
from tenantry.isolation.context import TenantContext
from tenantry.security.members import KeyRequest, MemberChange, NewKey

router = APIRouter(prefix="/v1", tags=["members"])
Limit = Annotated[int, Query(ge=1, le=500)]


def known_id(text: str) -> UUID:
    """The id in a path.

    Raises:
        NotFound: it cannot be one; the same answer as for an id that is not there.
    """
    known = parse_id(text)
    if known is None:
        raise NotFound
    return known


def member_json(row: dict[str, Any]) -> dict[str, Any]:
    """A member as the API shows it."""
    return {"id": row["member_id"], **{k: v for k, v in row.items() if k != "member_id"}}


def key_json(row: dict[str, Any]) -> dict[str, Any]:
    """A key as the API shows it: never its secret."""
    return {"id": row["key_id"], **{k: v for k, v in row.items() if k != "key_id"}}


@router.get("/members")
async def list_members(
    request: Request,
    ctx: Annotated[TenantContext, tenant("members:read")],
    cursor: str | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Members, oldest first."""
    platform = platform_of(request)
    after = platform.cursors.read_id(ctx.tenant, "members", cursor)
    rows = [member_json(r) for r in await platform.members.list_members(ctx, after, limit + 1)]
    return platform.cursors.page(ctx.tenant, "members", rows, limit, lambda row: row["id"])


@router.post("/members", status_code=201)
async def create_member(
    request: Request,
    body: MemberBody,
    ctx: Annotated[TenantContext, tenant("members:write")],
) -> dict[str, Any]:
    """Add a member."""
    platform = platform_of(request)
    return member_json(
        await platform.members.create(ctx, body.external_id, body.role, body.display_name)
    )


@router.get("/members/{member_id}")
async def get_member(
    request: Request, member_id: str, ctx: Annotated[TenantContext, tenant("members:read")]
) -> dict[str, Any]:
    """One member."""
    return member_json(await platform_of(request).members.get(ctx, known_id(member_id)))


@router.patch("/members/{member_id}")
async def change_member(
    request: Request,
    member_id: str,
    body: MemberChangeBody,
    ctx: Annotated[TenantContext, tenant("members:write")],
) -> dict[str, Any]:
    """Change a member's role, standing or name."""
    change = MemberChange(body.role, body.status, body.display_name)
    return member_json(await platform_of(request).members.change(ctx, known_id(member_id), change))


@router.delete("/members/{member_id}", status_code=204)
async def delete_member(
    request: Request, member_id: str, ctx: Annotated[TenantContext, tenant("members:write")]
) -> None:
    """Remove a member with its keys and conversations."""
    await platform_of(request).members.delete(ctx, known_id(member_id))


@router.get("/keys")
async def list_keys(
    request: Request,
    ctx: Annotated[TenantContext, tenant("keys:read")],
    cursor: str | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """API keys, oldest first, without their secrets."""
    platform = platform_of(request)
    after = platform.cursors.read_id(ctx.tenant, "keys", cursor)
    rows = [key_json(r) for r in await platform.members.list_keys(ctx, after, limit + 1)]
    return platform.cursors.page(ctx.tenant, "keys", rows, limit, lambda row: row["id"])


@router.post("/keys", status_code=201)
async def create_key(
    request: Request, body: KeyBody, ctx: Annotated[TenantContext, tenant("keys:write")]
) -> dict[str, Any]:
    """Issue a key; its secret is in this answer only."""
    member = ctx.member if body.member_id is None else MemberId(known_id(body.member_id))
    scopes = None if body.scopes is None else tuple(body.scopes)
    wanted = KeyRequest(body.name, member, scopes, body.expires_in)
    return _new_key_json(await platform_of(request).members.create_key(ctx, wanted))


@router.post("/keys/{key_id}/rotate", status_code=201)
async def rotate_key(
    request: Request,
    key_id: str,
    body: RotationBody,
    ctx: Annotated[TenantContext, tenant("keys:write")],
) -> dict[str, Any]:
    """Issue a successor to a key; the old one ends after the overlap."""
    overlap = timedelta(seconds=body.overlap_s)
    return _new_key_json(
        await platform_of(request).members.rotate_key(ctx, known_id(key_id), overlap)
    )


@router.delete("/keys/{key_id}", status_code=204)
async def revoke_key(
    request: Request, key_id: str, ctx: Annotated[TenantContext, tenant("keys:write")]
) -> None:
    """End a key now."""
    await platform_of(request).members.revoke_key(ctx, known_id(key_id))


def _new_key_json(new: NewKey) -> dict[str, Any]:
    return {
        "id": new.key_id,
        "api_key": new.key.reveal(),
        "scopes": sorted(new.scopes),
        "expires_at": new.expires_at,
    }
