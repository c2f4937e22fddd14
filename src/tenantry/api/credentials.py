"""From an HTTP request to a tenant context or an operator: who asks is decided here only.

A request may not say for which tenant it speaks: headers that try are refused and audited, whatever
their value (api-03). A missing scope and an unknown id are recorded too, so that probing shows.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from tenantry.core.errors import BoundaryCrossed, Forbidden, TenantryError, Unauthenticated
from tenantry.core.events import AuditEvent, Outcome
from tenantry.core.ids import PLATFORM, TenantId
from tenantry.isolation.context import TenantContext
from tenantry.platform import Platform
from tenantry.security.auth import Operator
from tenantry.security.cursors import CursorRefused

TENANT_HEADERS = frozenset(
    {
        "x-tenant", "x-tenant-id", "x-tenantry-tenant", "x-org", "x-org-id", "x-organization-id",
        "x-account-id", "x-workspace-id", "x-user-id", "x-member-id", "x-role", "x-forwarded-user",
        "x-original-url", "x-rewrite-url", "x-http-method-override", "x-method-override",
    }
)  # fmt: skip
_TENANT_HEADERS = frozenset(name.encode() for name in TENANT_HEADERS)
BOUNDARY_FIELDS = frozenset(
    {
        "tenant", "tenant_id", "tenantid", "org", "org_id", "organization_id", "account_id",
        "workspace_id", "owner_id", "as_user", "as_tenant", "actor", "scopes_override", "price",
    }
)  # fmt: skip
_BEARER = HTTPBearer(auto_error=False, description="API key, member token, or operator key")
_Credential = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


def platform_of(request: Request) -> Platform:
    """The platform this application serves."""
    platform: Platform = request.app.state.platform
    return platform


def bearer(headers: Mapping[str, str]) -> str:
    """The credential of a request.

    Raises:
        Unauthenticated: there is none in `Authorization: Bearer …` or `x-api-key`.
    """
    scheme, _, credential = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credential.strip():
        return credential.strip()
    if "x-api-key" in headers:
        return headers["x-api-key"]
    raise Unauthenticated("Send the credential as 'Authorization: Bearer …'.")


async def authenticate(platform: Platform, request: Request, scope: str) -> TenantContext:
    """The context of the caller, who must hold `scope`; kept with the request's state.

    Raises:
        Unauthenticated: the credential is no live one.
        BoundaryCrossed: a header names a tenant, role or user.
        Forbidden: the scope was not granted.
    """
    headers, state = request.headers, request.scope["state"]
    ctx = await platform.authenticator.context(
        bearer(headers),
        state["request_id"],
        platform.settings.request_timeout_s,
        _source(request),
    )
    named = sorted(n.decode() for n, _ in request.scope["headers"] if n in _TENANT_HEADERS)
    if named:
        await record_refusal(platform, ctx, "request.tenant_header", named[0])
        raise BoundaryCrossed("The tenant comes from the credential alone; send no such header.")
    try:
        ctx.require(scope)
    except Forbidden:
        await record_refusal(platform, ctx, "scope.refused", scope)
        raise
    state["ctx"] = ctx
    return ctx


def _source(request: Request) -> str:
    """The address at the other end: a header that claims another is anybody's to send."""
    return request.client.host if request.client is not None else ""


async def record_refusal(
    platform: Platform, ctx: TenantContext, action: str, target: str, layer: str = "api"
) -> None:
    """Put a refusal into the tenant's audit chain."""
    await platform.audit.record(ctx.event(action, "refused", layer, target))


def tenant(scope: str) -> Any:
    """A dependency that gives the caller's `TenantContext`, who must hold `scope`."""

    async def dependency(
        request: Request,
        _credential: _Credential,
    ) -> TenantContext:
        return await authenticate(platform_of(request), request, scope)

    return Depends(dependency)


def operator(scope: str) -> Any:
    """A dependency that gives the calling `Operator`, whose key must grant `scope`."""

    async def dependency(
        request: Request,
        _credential: _Credential,
    ) -> Operator:
        platform = platform_of(request)
        request_id = request.scope["state"]["request_id"]
        caller = await platform.authenticator.operator(
            bearer(request.headers), request_id, _source(request)
        )
        try:
            caller.require(scope)
        except Forbidden:
            await record_operator(request, caller, "scope.refused", scope, outcome="refused")
            raise
        return caller

    return Depends(dependency)


async def record_operator(
    request: Request,
    caller: Operator,
    action: str,
    target: str,
    *,
    outcome: Outcome = "allowed",
    owner: TenantId = PLATFORM,
) -> None:
    """Put an operator's act into the audit log: the platform's chain, or the tenant's concerned."""
    await platform_of(request).audit.record(
        AuditEvent(
            owner,
            str(caller),
            action,
            outcome,
            "api",
            target,
            {},
            request.scope["state"]["request_id"],
        )
    )


async def audit_error(platform: Platform, request: Request, error: TenantryError) -> None:
    """Record what an error says about an attempt: an id or a cursor that is not this tenant's.

    The id may stand in the path or in the body; without one in the path, the path is the target.
    """
    ctx = request.scope["state"].get("ctx")
    if ctx is None:
        return
    if isinstance(error, CursorRefused):
        await record_refusal(platform, ctx, "cursor.refused", request.url.path)
    elif error.http_status == 404:
        named = "/".join(str(value) for value in request.path_params.values())
        target = named or request.url.path
        await record_refusal(platform, ctx, "id.unknown", target, "database")
