"""Calls that change something and wait for the caller: listed, approved, refused."""

from typing import Annotated, Any

from fastapi import APIRouter, Request

from tenantry.api.credentials import platform_of, tenant
from tenantry.api.members import Limit, known_id
from tenantry.connectors.approvals import Approval
from tenantry.connectors.base import QueryLimits
from tenantry.core.ids import ConversationId
from tenantry.isolation.context import TenantContext

router = APIRouter(prefix="/v1/approvals", tags=["data"])


def approval_json(approval: Approval) -> dict[str, Any]:
    """An approval as the API shows it."""
    asked = approval.asked
    return {
        "id": approval.approval_id,
        "connector_id": asked.connector,
        "conversation_id": approval.conversation_id,
        "operation": asked.operation,
        "arguments": dict(asked.arguments),
        "sha256": asked.sha256.hex(),
        "state": approval.state,
        "requested_at": approval.requested_at,
        "expires_at": approval.expires_at,
    }


@router.get("")
async def list_approvals(
    request: Request,
    ctx: Annotated[TenantContext, tenant("conversations:read")],
    cursor: str | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Calls that wait for the caller, oldest first; each for five minutes."""
    platform = platform_of(request)
    # Sealed to the member too: a colleague's cursor is as foreign as a neighbour's.
    collection = f"approvals:{ctx.member}"
    after = platform.cursors.read_id(ctx.tenant, collection, cursor)
    found = await platform.connectors.approvals.list_pending(ctx, after, limit + 1)
    rows = [approval_json(approval) for approval in found]
    return platform.cursors.page(ctx.tenant, collection, rows, limit, lambda row: row["id"])


@router.get("/{approval_id}")
async def get_approval(
    request: Request, approval_id: str, ctx: Annotated[TenantContext, tenant("conversations:read")]
) -> dict[str, Any]:
    """One call that the caller was asked for, whatever became of it."""
    approvals = platform_of(request).connectors.approvals
    return approval_json(await approvals.get(ctx, known_id(approval_id)))


@router.post("/{approval_id}/approve")
async def approve(
    request: Request, approval_id: str, ctx: Annotated[TenantContext, tenant("data:write")]
) -> dict[str, Any]:
    """Approve a call and make it, once, exactly as it was asked for; metered like a model's.

    Only the member in whose conversation it was asked for can, while that conversation is there.
    """
    platform = platform_of(request)
    approval = await platform.connectors.approvals.get(ctx, known_id(approval_id))
    await platform.conversations.get(ctx, ConversationId(approval.conversation_id))
    answer = await platform.direct.approve(ctx, approval.approval_id, QueryLimits())
    return {"id": approval.approval_id, "state": "approved", "answer": answer}


@router.post("/{approval_id}/refuse")
async def refuse(
    request: Request,
    approval_id: str,
    ctx: Annotated[TenantContext, tenant("conversations:write")],
) -> dict[str, Any]:
    """Refuse a call; it is never made."""
    approvals = platform_of(request).connectors.approvals
    return approval_json(await approvals.decide(ctx, known_id(approval_id), "refused"))
