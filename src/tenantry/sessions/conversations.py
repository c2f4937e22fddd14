"""Conversations of a member: whole turns, appended one by one and never changed.

A conversation is its member's alone. One that is unknown, another tenant's, or another member's
is the same `NotFound`, found out by the same statement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from tenantry.core.errors import NotFound
from tenantry.core.events import AuditSink, Json
from tenantry.core.ids import AssistantId, ConversationId, TenantId, new_id
from tenantry.core.storable import storable, storable_json
from tenantry.db.queries import load
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tenantry.sessions.assistants import find_assistant

Status = Literal["complete", "cut", "failed"]
ToolOutcome = Literal["ok", "error", "refused"]

_SQL = load("tenantry.sessions")
_NEWEST = UUID(int=2**128 - 1)
_TITLE_LENGTH = 80
_LONGEST_ARGUMENTS = 20_000


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation, without its messages."""

    conversation_id: ConversationId
    assistant_id: AssistantId
    assistant: str
    title: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it was kept; `owner` is the tenant that the row names.

    Attributes:
        message_no: 1, 2, … within the conversation.
        citations: of an answer: its sources, as JSON objects.
        attachments: of an answer: charts and files, as JSON objects.
        status: `cut` when the member left or the deadline passed, `failed` after an error.
        assistant_version: of an answer: which version of the assistant gave it.
    """

    owner: TenantId
    message_no: int
    role: Literal["user", "assistant"]
    content: str = field(repr=False)
    citations: Sequence[Json] = field(repr=False)
    attachments: Sequence[Json] = field(repr=False)
    status: Status
    request_id: str
    assistant_version: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ToolRecord:
    """A tool call of a turn.

    Attributes:
        tool: the name that the model called, whether there is such a tool or not.
        arguments: as the model wrote them, whether JSON or not.
        message_no: the answer it was made for; 0 until stored.
    """

    tool: str
    arguments: str = field(repr=False)
    outcome: ToolOutcome
    duration_ms: int = 0
    row_count: int = 0
    size_bytes: int = 0
    message_no: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """A member's question and what came of it."""

    question: str = field(repr=False)
    answer: str = field(repr=False)
    status: Status
    assistant_version: int
    citations: Sequence[Json] = ()
    attachments: Sequence[Json] = ()
    tools: Sequence[ToolRecord] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """A page of a conversation: messages, oldest first, and the tool calls of its answers."""

    conversation: Conversation
    messages: tuple[StoredMessage, ...]
    tool_calls: tuple[ToolRecord, ...]


class Conversations:
    """A member's own conversations."""

    def __init__(self, db: Database, audit: AuditSink) -> None:
        self._db = db
        self._audit = audit

    async def create(self, ctx: TenantContext, assistant: str, title: str = "") -> Conversation:
        """A new, empty conversation of the calling member with the assistant of that name.

        Raises:
            NotFound: no such assistant in this tenant.
        """
        conversation_id = ConversationId(new_id())
        async with self._db.tenant(ctx) as tx:
            version = await find_assistant(tx, assistant)
            await create_conversation(tx, conversation_id, version.assistant_id, title)
            return await get_conversation(tx, conversation_id)

    async def list_own(self, ctx: TenantContext, after: UUID, limit: int) -> list[Conversation]:
        """The calling member's conversations, newest first.

        Args:
            ctx: the member.
            after: the last one of the page before; the nil UUID starts with the newest.
            limit: how many, at most.
        """
        before = after if after.int else _NEWEST
        async with self._db.tenant(ctx) as tx:
            rows = await tx.rows(
                _SQL["list_conversations"], member_id=ctx.member, before=before, limit=limit
            )
        return [Conversation(**row) for row in rows]

    async def get(
        self, ctx: TenantContext, conversation_id: UUID, after: int = 0, limit: int = 200
    ) -> Transcript:
        """A conversation with its messages numbered above `after`.

        Raises:
            NotFound: the calling member has no such conversation.
        """
        async with self._db.tenant(ctx) as tx:
            conversation = await get_conversation(tx, conversation_id)
            rows = await tx.rows(
                _SQL["list_messages"], conversation_id=conversation_id, after=after, limit=limit
            )
            messages = tuple(StoredMessage(**row) for row in rows)
            calls = await tx.rows(
                _SQL["list_tool_calls"],
                conversation_id=conversation_id,
                message_nos=[m.message_no for m in messages if m.role == "assistant"],
            )
        return Transcript(conversation, messages, tuple(ToolRecord(**row) for row in calls))

    async def append(self, ctx: TenantContext, conversation_id: UUID, turn: Turn) -> int:
        """Add a turn; the number of its answer.

        Raises:
            NotFound: the calling member has no such conversation.
        """
        async with self._db.tenant(ctx) as tx:
            answer_no = await append_turn(tx, conversation_id, turn)
        if answer_no is None:
            raise NotFound
        return answer_no

    async def delete(self, ctx: TenantContext, conversation_id: UUID) -> None:
        """Remove a conversation with its messages.

        Raises:
            NotFound: the calling member has no such conversation.
        """
        async with self._db.tenant(ctx) as tx:
            gone = await tx.execute(
                _SQL["delete_conversation"], conversation_id=conversation_id, member_id=ctx.member
            )
            if not gone:
                raise NotFound
            await self._audit.record(
                ctx.event("conversation.deleted", "allowed", "api", str(conversation_id))
            )


async def get_conversation(tx: Transaction, conversation_id: UUID) -> Conversation:
    """The calling member's conversation, inside the caller's transaction.

    Raises:
        NotFound: the calling member has no such conversation.
    """
    row = await tx.row(
        _SQL["get_conversation"], conversation_id=conversation_id, member_id=tx.ctx.member
    )
    if row is None:
        raise NotFound
    return Conversation(**row)


async def create_conversation(
    tx: Transaction, conversation_id: UUID, assistant_id: UUID, title: str
) -> None:
    """Start a conversation of the calling member, inside the caller's transaction.

    Raises:
        Conflict: member or assistant are gone.
    """
    await tx.execute(
        _SQL["create_conversation"],
        conversation_id=conversation_id,
        member_id=tx.ctx.member,
        assistant_id=assistant_id,
        title=storable(" ".join(title.split())[:_TITLE_LENGTH]),
    )


async def last_messages(
    tx: Transaction, conversation_id: UUID, limit: int
) -> tuple[StoredMessage, ...]:
    """The newest messages of a conversation, oldest first, inside the caller's transaction."""
    rows = await tx.rows(_SQL["last_messages"], conversation_id=conversation_id, limit=limit)
    return tuple(StoredMessage(**row) for row in rows)


async def append_turn(tx: Transaction, conversation_id: UUID, turn: Turn) -> int | None:
    """Add question, answer and tool calls together, inside the caller's transaction.

    Gives the answer's number, or None when the calling member has no such conversation (any more).
    """
    mine = {"conversation_id": conversation_id}
    if not await tx.execute(_SQL["touch_conversation"], member_id=tx.ctx.member, **mine):
        return None
    said: Mapping[str, object] = {**mine, "request_id": tx.ctx.request_id}
    await tx.execute(
        _SQL["append_message"],
        role="user",
        content=storable(turn.question),
        citations=Jsonb([]),
        attachments=Jsonb([]),
        status="complete",
        assistant_version=None,
        **said,
    )
    answer_no = await tx.value(
        _SQL["append_message"],
        role="assistant",
        content=storable(turn.answer),
        citations=Jsonb(storable_json(turn.citations)),
        attachments=Jsonb(storable_json(turn.attachments)),
        status=turn.status,
        assistant_version=turn.assistant_version,
        **said,
    )
    if turn.tools:
        rows = [{**mine, **_tool_row(call, answer_no)} for call in turn.tools]
        await tx.execute_many(_SQL["add_tool_call"], rows)
    return int(answer_no)


def _tool_row(call: ToolRecord, answer_no: int) -> dict[str, object]:
    return {
        "tool_call_id": new_id(),
        "message_no": answer_no,
        "tool": storable(call.tool[:_LONGEST_ARGUMENTS]),
        "arguments": storable(call.arguments[:_LONGEST_ARGUMENTS]),
        "outcome": call.outcome,
        "duration_ms": call.duration_ms,
        "row_count": call.row_count,
        "size_bytes": call.size_bytes,
    }
