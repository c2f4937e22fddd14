"""Operators' resources: the directory of tenants, and member tokens for the SaaS's own backend."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request

from tenantry.api.bodies import NAME_PATTERN, TenantBody, TenantChangeBody, TokenBody
from tenantry.api.credentials import operator, platform_of, record_operator, tenant
from tenantry.api.problems import request_id_of
from tenantry.core.errors import Forbidden, InvalidRequest, NotFound
from tenantry.core.ids import MemberId, parse_id
from tenantry.isolation.context import TenantContext
from tenantry.isolation.tenants import Tenant
from tenantry.platform import Platform
from tenantry.security.auth import Operator
from tenantry.security.members import KeyRequest
from tenantry.security.scopes import scopes_for_key

router = APIRouter(prefix="/v1", tags=["tenants"])


def tenant_json(found: Tenant) -> dict[str, Any]:
    """A tenant as the API shows it."""
    return {
        "id": str(found.id),
        "name": found.name,
        "status": found.status,
        "weight": found.weight,
        "created_at": found.created_at,
    }


async def named_tenant(platform: Platform, name_or_id: str) -> Tenant:
    """The tenant with this name or id.

    Raises:
        NotFound: there is none.
    """
    known = parse_id(name_or_id)
    if known is not None:
        return await platform.tenants.get(known)
    if not re.fullmatch(NAME_PATTERN, name_or_id):
        raise NotFound  # it cannot be one: PostgreSQL need not hear of it
    return await platform.tenants.find(name_or_id)


@router.post("/tenants", status_code=201)
async def create_tenant(
    request: Request, body: TenantBody, caller: Annotated[Operator, operator("tenants:write")]
) -> dict[str, Any]:
    """Create a tenant with its first owner, a key of the owner's, and the default assistant."""
    platform, request_id = platform_of(request), request_id_of(request)
    created = await platform.tenants.create(body.name)
    ctx = platform.authenticator.for_operator(caller, created.id, request_id)
    member = await platform.members.create(
        ctx, body.owner.external_id, "owner", body.owner.display_name
    )
    wanted = KeyRequest("first key", MemberId(member["member_id"]))
    key = await platform.members.create_key(ctx, wanted)
    await platform.provision_assistant(ctx)
    await record_operator(request, caller, "tenant.created", body.name)
    return {
        "tenant": tenant_json(created),
        "owner": {"id": str(member["member_id"]), "external_id": member["external_id"]},
        "api_key": key.key.reveal(),
    }


@router.get("/tenants")
async def list_tenants(
    request: Request,
    _caller: Annotated[Operator, operator("tenants:read")],
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """Tenants, oldest first."""
    platform = platform_of(request)
    owner = UUID(int=0)
    after = platform.cursors.read_id(owner, "tenants", cursor)
    found = [tenant_json(t) for t in await platform.tenants.list_tenants(after, limit + 1)]
    return platform.cursors.page(owner, "tenants", found, limit, _id)


@router.get("/tenants/{tenant_id}")
async def get_tenant(
    request: Request, tenant_id: str, _caller: Annotated[Operator, operator("tenants:read")]
) -> dict[str, Any]:
    """One tenant, by id or name."""
    return tenant_json(await named_tenant(platform_of(request), tenant_id))


@router.patch("/tenants/{tenant_id}")
async def change_tenant(
    request: Request,
    tenant_id: str,
    body: TenantChangeBody,
    caller: Annotated[Operator, operator("tenants:write")],
) -> dict[str, Any]:
    """Suspend or reinstate a tenant, or change its weight beside others.

    Its keys and tokens stop or work again at once; a weight holds for what waits already.
    """
    platform = platform_of(request)
    found = await named_tenant(platform, tenant_id)
    if body.status is None and body.weight is None:
        raise InvalidRequest("status or weight is needed.")
    if body.weight is not None:
        found = await platform.upkeep.base.weights.set(found.id, body.weight)
        await record_operator(request, caller, "tenant.weighed", str(found.id), owner=found.id)
    if body.status is not None:
        found = await platform.tenants.set_status(found.id, body.status)
        platform.standing.forget(found.id)
        action = f"tenant.{body.status}"
        await record_operator(request, caller, action, str(found.id), owner=found.id)
    return tenant_json(found)


@router.post("/tokens", status_code=201)
async def mint_token(
    request: Request, body: TokenBody, caller: Annotated[Operator, operator("tokens:mint")]
) -> dict[str, Any]:
    """Exchange the SaaS backend's platform key for a short-lived token of one member.

    The member is created on first sight. A token never carries more than the member's role allows,
    and never an owner's: owners sign in with keys.
    """
    platform, request_id = platform_of(request), request_id_of(request)
    found = await named_tenant(platform, body.tenant)
    if found.status != "active":
        raise Forbidden("This tenant is suspended.")
    ctx = platform.authenticator.for_token(caller, found.id, request_id)
    member = await platform.members.find(ctx, body.external_id)
    if member is None:
        member = await platform.members.create(ctx, body.external_id, body.role, body.display_name)
    if member["status"] != "active" or member["role"] == "owner":
        raise Forbidden("No token is minted for a disabled member or an owner.")
    text, expires_at = platform.tokens.mint(
        found.id,
        MemberId(member["member_id"]),
        scopes_for_key(member["role"], body.scopes),
        body.lifetime_s,
        caller.id,
    )
    await record_operator(request, caller, "token.minted", str(member["member_id"]), owner=found.id)
    return _token_json(text, expires_at, member)


@router.get("/tenant")
async def own_tenant(
    request: Request, ctx: Annotated[TenantContext, tenant("chat")]
) -> dict[str, Any]:
    """The caller's own tenant and what the caller may do in it."""
    found = await platform_of(request).tenants.get(ctx.tenant)
    return {
        **tenant_json(found),
        "member_id": str(ctx.member),
        "role": ctx.actor.role,
        "scopes": sorted(ctx.scopes),
    }


def _token_json(text: str, expires_at: datetime, member: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "token": text,
        "token_type": "Bearer",
        "expires_at": expires_at,
        "member": {
            "id": str(member["member_id"]),
            "external_id": member["external_id"],
            "role": member["role"],
        },
    }


def _id(row: Mapping[str, Any]) -> UUID:
    known = parse_id(str(row["id"]))
    if known is None:
        raise NotFound
    return known
