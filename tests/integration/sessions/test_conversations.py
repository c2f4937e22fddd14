"""Conversations against a real database: a member's own, whole, and nobody else's."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from tenantry.core.errors import Forbidden, NotFound
from tenantry.core.ids import TenantId
from tenantry.isolation.context import Actor, TenantContext
from tenantry.sessions.assistants import Assistants, Draft
from tenantry.sessions.conversations import (
    Conversation,
    Conversations,
    StoredMessage,
    ToolRecord,
    Turn,
)
from tests.worlds import World

START = UUID(int=0)
TOOL = ToolRecord("query_data", '{"sql":"SELECT 1"}', "ok", 12, 3, 456)


def turn(question: str = "How many?", answer: str = "Three.", **more: Any) -> Turn:
    return Turn(question, answer, **{"status": "complete", "assistant_version": 1, **more})


@pytest.fixture
async def conversations(world: World) -> Conversations:
    assistants = Assistants(world.db, world.audit, ())
    for ctx in (world.acme, world.globex):
        await assistants.create(ctx, "analyst", Draft("Be brief.", "keyless"))
    return Conversations(world.db, world.audit)


@pytest.fixture
async def neighbours(world: World, conversations: Conversations) -> Sequence[Conversation]:
    """A conversation of globex, and one of another member of acme, both with a turn."""
    found = []
    for ctx in (world.globex, world.context(world.acme, "analyst")):
        made = await conversations.create(ctx, "analyst", "Not yours")
        await conversations.append(ctx, made.conversation_id, turn("Secret?", "Yes."))
        found.append(made)
    return found


def stored(world: World, table: str, tenant: TenantId) -> int:
    with world.admin() as connection:
        query = f"SELECT count(*) FROM tenantry.{table} WHERE tenant_id = %s"
        row = connection.execute(query.encode(), [tenant]).fetchone()
    return int(row[0]) if row else 0


def said(messages: Sequence[StoredMessage]) -> list[tuple[int, str, str]]:
    return [(m.message_no, m.role, m.content) for m in messages]


async def test_a_turn_is_a_question_and_an_answer_with_its_tool_calls(
    world: World, conversations: Conversations, neighbours: Sequence[Conversation]
) -> None:
    made = await conversations.create(world.acme, "analyst", "  Sales\n of   May ")
    citation = {"ref": "query:1", "title": "warehouse"}
    number = await conversations.append(
        world.acme, made.conversation_id, turn(citations=[citation], tools=[TOOL, TOOL])
    )
    found = await conversations.get(world.acme, made.conversation_id)
    assert (found.conversation.title, found.conversation.assistant) == ("Sales of May", "analyst")
    assert said(found.messages) == [(1, "user", "How many?"), (2, "assistant", "Three.")]
    assert number == 2
    asked, answered = found.messages
    assert (asked.assistant_version, answered.assistant_version) == (None, 1)
    assert answered.citations == [citation]
    assert {m.owner for m in found.messages} == {world.acme.tenant}
    assert {m.request_id for m in found.messages} == {"req-acme"}
    assert [(c.tool, c.arguments, c.row_count, c.message_no) for c in found.tool_calls] == [
        ("query_data", '{"sql":"SELECT 1"}', 3, 2)
    ] * 2


async def test_a_long_conversation_is_read_in_pages(
    world: World, conversations: Conversations
) -> None:
    made = await conversations.create(world.acme, "analyst")
    for n in range(3):
        await conversations.append(
            world.acme, made.conversation_id, turn(f"q{n}", f"a{n}", tools=[TOOL])
        )
    page = await conversations.get(world.acme, made.conversation_id, after=2, limit=3)
    assert said(page.messages) == [(3, "user", "q1"), (4, "assistant", "a1"), (5, "user", "q2")]
    assert [call.message_no for call in page.tool_calls] == [4]


@pytest.mark.req("DB-1", "SEC-4", "MEM-1")
async def test_a_foreign_an_unknown_and_another_members_conversation_are_the_same_not_found(
    world: World, conversations: Conversations, neighbours: Sequence[Conversation]
) -> None:
    refusals = set()
    for conversation_id in (*(n.conversation_id for n in neighbours), uuid4()):
        for attempt in (
            conversations.get(world.acme, conversation_id),
            conversations.append(world.acme, conversation_id, turn()),
            conversations.delete(world.acme, conversation_id),
        ):
            with pytest.raises(NotFound) as refused:
                await attempt
            refusals.add((type(refused.value), refused.value.message))
    assert len(refusals) == 1
    assert stored(world, "messages", world.globex.tenant) == 2
    assert stored(world, "messages", world.acme.tenant) == 2
    assert stored(world, "conversations", world.acme.tenant) == 1


async def test_a_list_holds_the_members_own_newest_first(
    world: World, conversations: Conversations, neighbours: Sequence[Conversation]
) -> None:
    made = [await conversations.create(world.acme, "analyst", str(n)) for n in range(3)]
    page = await conversations.list_own(world.acme, START, 2)
    assert [c.title for c in page] == ["2", "1"]
    rest = await conversations.list_own(world.acme, page[-1].conversation_id, 2)
    assert rest == [made[0]]
    assert await conversations.list_own(world.acme, made[0].conversation_id, 2) == []


async def test_a_deleted_conversation_takes_its_messages_along_and_is_audited(
    world: World, conversations: Conversations, neighbours: Sequence[Conversation]
) -> None:
    made = await conversations.create(world.acme, "analyst")
    await conversations.append(world.acme, made.conversation_id, turn(tools=[TOOL]))
    await conversations.delete(world.acme, made.conversation_id)
    with pytest.raises(NotFound):
        await conversations.get(world.acme, made.conversation_id)
    assert stored(world, "messages", world.acme.tenant) == 2  # the other member's
    assert stored(world, "tool_calls", world.acme.tenant) == 0
    assert stored(world, "messages", world.globex.tenant) == 2
    event = (await world.audit_events(world.acme))[-1]
    assert (event["action"], event["outcome"]) == ("conversation.deleted", "allowed")


async def test_turns_appended_at_the_same_time_stay_whole_and_in_order(
    world: World, conversations: Conversations
) -> None:
    made = await conversations.create(world.acme, "analyst")
    await asyncio.gather(
        *(
            conversations.append(world.acme, made.conversation_id, turn(f"q{n}", f"a{n}"))
            for n in range(6)
        )
    )
    messages = (await conversations.get(world.acme, made.conversation_id)).messages
    assert [m.message_no for m in messages] == list(range(1, 13))
    pairs = zip(messages[::2], messages[1::2], strict=True)
    assert all(q.content[1:] == a.content[1:] and q.role == "user" for q, a in pairs)


@pytest.mark.req("DB-3")
async def test_text_that_cannot_be_stored_as_it_is_does_not_lose_the_turn(
    world: World, conversations: Conversations
) -> None:
    made = await conversations.create(world.acme, "analyst", "nul \0 title")
    odd = ToolRecord("na\0me", '{"a":"\ud800"}', "refused")
    sources = [{"ref": "doc:1", "quote": "a\0b", "parts": ["\ud800", 1, None]}]
    await conversations.append(
        world.acme,
        made.conversation_id,
        turn("nul \0?", "half \ud800.", citations=sources, tools=[odd]),
    )
    found = await conversations.get(world.acme, made.conversation_id)
    assert said(found.messages) == [(1, "user", "nul \ufffd?"), (2, "assistant", "half \ufffd.")]
    assert found.messages[1].citations == [
        {"ref": "doc:1", "quote": "a\ufffdb", "parts": ["\ufffd", 1, None]}
    ]
    assert (found.tool_calls[0].tool, found.tool_calls[0].arguments) == (
        "na\ufffdme",
        '{"a":"\ufffd"}',
    )


async def test_endless_tool_arguments_are_stored_in_part(
    world: World, conversations: Conversations
) -> None:
    made = await conversations.create(world.acme, "analyst")
    endless = ToolRecord("query_data", "x" * 300_000, "refused")
    await conversations.append(world.acme, made.conversation_id, turn(tools=[endless]))
    (call,) = (await conversations.get(world.acme, made.conversation_id)).tool_calls
    assert call.arguments == "x" * 20_000


async def test_a_conversation_needs_an_assistant_of_ones_own(
    world: World, conversations: Conversations
) -> None:
    assistants = Assistants(world.db, world.audit, ())
    await assistants.create(world.globex, "only-theirs", Draft("Hi.", "keyless"))
    for name in ("only-theirs", "nobodys"):
        with pytest.raises(NotFound):
            await conversations.create(world.acme, name)


async def test_who_is_no_member_has_no_conversations(
    world: World, conversations: Conversations
) -> None:
    operator = Actor("operator", uuid4(), "operator")
    ctx: TenantContext = world.mint.mint(
        world.acme.tenant, operator, frozenset(), "req-op", world.acme.deadline
    )
    for attempt in (
        conversations.create(ctx, "analyst"),
        conversations.list_own(ctx, START, 10),
        conversations.get(ctx, uuid4()),
    ):
        with pytest.raises(Forbidden):
            await attempt
