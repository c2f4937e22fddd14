"""Conversations: a member's own, and nobody else's, in the same tenant or another."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from tenantry.api.credentials import platform_of, tenant
from tenantry.api.members import Limit, known_id
from tenantry.isolation.context import TenantContext
from tenantry.sessions.conversations import Conversation, StoredMessage

router = APIRouter(prefix="/v1/conversations", tags=["conversations"])


def conversation_json(found: Conversation) -> dict[str, Any]:
    """A conversation as the API shows it."""
    shown = asdict(found)
    return {"id": shown.pop("conversation_id"), **shown}


def message_json(message: StoredMessage) -> dict[str, Any]:
    """A message as the API shows it."""
    shown = asdict(message)
    del shown["owner"]
    return shown


@router.get("")
async def list_conversations(
    request: Request,
    ctx: Annotated[TenantContext, tenant("conversations:read")],
    cursor: str | None = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """The caller's conversations, newest first."""
    platform = platform_of(request)
    # Sealed to the member too: a colleague's cursor is as foreign as a neighbour's.
    collection = f"conversations:{ctx.member}"
    after = platform.cursors.read_id(ctx.tenant, collection, cursor)
    found = await platform.conversations.list_own(ctx, after, limit + 1)
    rows = [conversation_json(conversation) for conversation in found]
    return platform.cursors.page(ctx.tenant, collection, rows, limit, lambda row: row["id"])


@router.get("/{conversation_id}")
async def get_conversation(
    request: Request,
    conversation_id: str,
    ctx: Annotated[TenantContext, tenant("conversations:read")],
    after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Limit = 200,
) -> dict[str, Any]:
    """A conversation with its messages numbered above `after`, and the tools they used."""
    found = await platform_of(request).conversations.get(
        ctx, known_id(conversation_id), after, limit
    )
    return {
        **conversation_json(found.conversation),
        "messages": [message_json(message) for message in found.messages],
        "tool_calls": [asdict(call) for call in found.tool_calls],
    }


@router.delete("/{conversation_id}", status_code=204)
async def delete_conversation(
    request: Request,
    conversation_id: str,
    ctx: Annotated[TenantContext, tenant("conversations:write")],
) -> None:
    """Remove a conversation with its messages."""
    await platform_of(request).conversations.delete(ctx, known_id(conversation_id))
