"""Sessions against a real database: fresh at the start, whole at the end, and nothing kept."""

import asyncio
import gc
import secrets
import weakref
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from tenantry.core.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    ProviderUnavailable,
)
from tenantry.core.ids import ConversationId
from tenantry.isolation.context import Actor, TenantContext
from tenantry.metering.ledger import CallIntent, Ledger
from tenantry.metering.prices import PriceBook, PriceRow, PriceVersion
from tenantry.metering.usage import TokenUsage, ToolUsage
from tenantry.sessions.assistants import Assistants, AssistantVersion, Draft
from tenantry.sessions.conversations import Conversations, ToolRecord, Transcript, Turn
from tenantry.sessions.session import Charge, Opening, Session, open_session
from tests.heap import holders_of
from tests.worlds import World

BOOK = PriceVersion.of(
    1,
    datetime(2025, 1, 1, tzinfo=UTC),
    [
        PriceRow("p", "m", "input_token", 3),
        PriceRow("p", "m", "output_token", 5),
        PriceRow("tenantry", "*", "millisecond", 7),
    ],
)
INTENT = CallIntent("chat", "p", "m", TokenUsage(input_tokens=100, output_tokens=100))
OPENING = Opening("analyst", "How many days?")


class Rooms:
    """A world with assistants of both tenants under the same name."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ledger = Ledger(world.db, world.writer, PriceBook([BOOK]), world.clock)
        self.assistants = Assistants(world.db, world.audit, ("query_data",))
        self.conversations = Conversations(world.db, world.audit)

    def open(self, ctx: TenantContext, opening: Opening = OPENING) -> Session:
        return open_session(ctx, self.world.db, self.ledger, opening)

    async def charge(self, session: Session, usage: TokenUsage) -> Charge:
        charge = Charge(await self.ledger.open(session.ctx, INTENT), usage)
        session.charges.append(charge)
        return charge

    async def transcript(self, session: Session) -> Transcript:
        return await self.conversations.get(session.ctx, session.conversation_id)

    def ledger_rows(self, ctx: TenantContext) -> list[tuple[str, int, bool]]:
        query = (
            "SELECT kind, output_tokens, confirmed FROM tenantry.usage_events "
            "WHERE tenant_id = %s ORDER BY call_id, at"
        )
        with self.world.admin() as connection:
            return connection.execute(query, [ctx.tenant]).fetchall()


@pytest.fixture
async def rooms(world: World) -> Rooms:
    rooms = Rooms(world)
    await rooms.assistants.create(world.acme, "analyst", Draft("Acme: be brief.", "keyless"))
    await rooms.assistants.create(world.globex, "analyst", Draft("Globex: be long.", "keyless"))
    return rooms


async def said(rooms: Rooms, session: Session) -> list[tuple[str, str, str]]:
    return [(m.role, m.content, m.status) for m in (await rooms.transcript(session)).messages]


@pytest.mark.req("CTX-1")
async def test_a_session_loads_the_current_version_of_its_own_tenants_assistant(
    world: World, rooms: Rooms
) -> None:
    async with rooms.open(world.acme) as session:
        assert session.configuration.instructions == "Acme: be brief."
        assert session.configuration.owner == world.acme.tenant
        acme = session.configuration.assistant_id
        session.finish()
    await rooms.assistants.add_version(world.acme, acme, Draft("Acme: be kind.", "keyless"))
    async with rooms.open(world.acme) as session:
        assert (session.configuration.version, session.configuration.instructions) == (
            2,
            "Acme: be kind.",
        )
    await rooms.assistants.roll_back(world.acme, acme, 1)
    async with rooms.open(world.acme) as session:
        assert session.configuration.instructions == "Acme: be brief."
    async with rooms.open(world.globex) as session:
        assert session.configuration.instructions == "Globex: be long."


@pytest.mark.req("CTX-1")
async def test_a_session_keeps_its_version_while_another_becomes_current(
    world: World, rooms: Rooms
) -> None:
    async with rooms.open(world.acme) as session:
        draft = Draft("Acme: changed.", "keyless")
        await rooms.assistants.add_version(world.acme, session.configuration.assistant_id, draft)
        assert session.configuration.instructions == "Acme: be brief."
        session.finish()
    answer = (await rooms.transcript(session)).messages[1]
    assert answer.assistant_version == 1


@pytest.mark.req("CTX-1")
async def test_a_closed_session_answers_with_nothing_of_what_it_had_loaded(
    world: World, rooms: Rooms
) -> None:
    async with rooms.open(world.acme) as session:
        session.write("Fourteen.")
        session.finish()
    with pytest.raises(InvalidRequest, match="closed"):
        _ = session.configuration
    assert (session.text, session.question, session.history) == ("", "", ())
    assert (session.tools, session.citations) == ([], [])
    with pytest.raises(InvalidRequest):
        async with session:
            pass


@pytest.mark.req("CTX-1")
@pytest.mark.parametrize("ending", ["success", "error", "cancellation"])
async def test_no_object_of_the_configuration_is_reachable_after_the_session(
    world: World, rooms: Rooms, ending: str
) -> None:
    # Built from two halves at run time, so that no constant of this test is found instead.
    halves = (secrets.token_hex(8), secrets.token_hex(8))
    conversation_id = await secret_conversation(world, rooms, halves)
    opening = Opening("secretive", "And now?", conversation_id)
    session, watched = await used_session(rooms, opening, ending, halves)
    gc.collect()
    assert [ref() for ref in watched] == [None] * len(watched)
    assert holders_of(*halves) == []
    assert session.status == {"success": "complete", "error": "failed"}.get(ending, "cut")


async def secret_conversation(
    world: World, rooms: Rooms, halves: tuple[str, str]
) -> ConversationId:
    secret = "".join(halves)
    draft = Draft(f"The word is {secret}.", "keyless", settings={"max_steps": 3})
    made = await rooms.assistants.create(world.acme, "secretive", draft)
    conversation = await rooms.conversations.create(world.acme, made.name)
    turn = Turn(f"What of {secret}?", f"It is {secret}.", "complete", 1)
    await rooms.conversations.append(world.acme, conversation.conversation_id, turn)
    return conversation.conversation_id


async def used_session(
    rooms: Rooms, opening: Opening, ending: str, halves: tuple[str, str]
) -> tuple[Session, list[weakref.ref[AssistantVersion]]]:
    session = rooms.open(rooms.world.acme, opening)
    watched = []
    try:
        async with session:
            watched.append(weakref.ref(session.configuration))
            assert len(holders_of(*halves)) >= 3, "the search itself finds what is there"
            if ending == "error":
                raise ProviderUnavailable
            if ending == "cancellation":
                raise asyncio.CancelledError
            session.finish()
    except (ProviderUnavailable, asyncio.CancelledError):
        pass
    return session, watched


async def test_a_new_conversation_exists_once_its_first_turn_is_closed(
    world: World, rooms: Rooms
) -> None:
    async with rooms.open(world.acme) as session:
        with pytest.raises(NotFound):
            await rooms.transcript(session)
        session.write("Four")
        session.write("teen.")
        record, usage = (
            ToolRecord("query_data", "{}", "ok", 1, 2, 3),
            ToolUsage("query_data", 1, 2, 3),
        )
        session.used(record, usage)
        session.citations.append({"ref": "doc:1"})
        session.finish()
    found = await rooms.transcript(session)
    assert found.conversation.title == "How many days?"
    assert [(m.role, m.content, m.status) for m in found.messages] == [
        ("user", "How many days?", "complete"),
        ("assistant", "Fourteen.", "complete"),
    ]
    assert found.messages[1].citations == [{"ref": "doc:1"}]
    assert [c.tool for c in found.tool_calls] == ["query_data"]
    assert session.answer_no == 2
    assert await rooms.conversations.list_own(world.globex, UUID(int=0), 10) == []


async def test_going_on_with_a_conversation_loads_its_last_messages(
    world: World, rooms: Rooms
) -> None:
    async with rooms.open(world.acme) as first:
        first.write("Fourteen.")
        first.finish()
    again = Opening("analyst", "Of what?", first.conversation_id, history=1)
    async with rooms.open(world.acme, again) as second:
        assert [(m.message_no, m.content) for m in second.history] == [(2, "Fourteen.")]
        assert {m.owner for m in second.history} == {world.acme.tenant}
        second.write("Days.")
        second.finish()
    assert [m[1] for m in await said(rooms, second)] == [
        "How many days?",
        "Fourteen.",
        "Of what?",
        "Days.",
    ]


@pytest.mark.req("DB-1", "SEC-4")
async def test_nobody_goes_on_with_a_conversation_of_somebody_else(
    world: World, rooms: Rooms
) -> None:
    colleague = world.context(world.acme, "analyst")
    theirs = []
    for ctx in (world.globex, colleague):
        async with rooms.open(ctx) as session:
            session.write("Private.")
            session.finish()
        theirs.append(session.conversation_id)
    for conversation_id in (*theirs, ConversationId(uuid4())):
        with pytest.raises(NotFound):
            async with rooms.open(world.acme, Opening("analyst", "And?", conversation_id)):
                pytest.fail("it was opened")
    assert await rooms.conversations.list_own(world.acme, UUID(int=0), 10) == []


async def test_a_conversation_stays_with_its_assistant(world: World, rooms: Rooms) -> None:
    await rooms.assistants.create(world.acme, "other", Draft("Other.", "keyless"))
    async with rooms.open(world.acme) as session:
        session.finish()
    with pytest.raises(InvalidRequest, match="another assistant"):
        async with rooms.open(world.acme, Opening("other", "And?", session.conversation_id)):
            pytest.fail("it was opened")


async def test_only_a_member_asks_and_an_unknown_assistant_is_not_found(
    world: World, rooms: Rooms
) -> None:
    worker = Actor("worker", uuid4(), "worker")
    ctx = world.mint.mint(world.acme.tenant, worker, frozenset(), "r", world.acme.deadline)
    with pytest.raises(Forbidden):
        async with rooms.open(ctx):
            pytest.fail("it was opened")
    with pytest.raises(NotFound):
        async with rooms.open(world.acme, Opening("nobody", "Hm?")):
            pytest.fail("it was opened")
    with pytest.raises(InvalidRequest):
        rooms.open(world.acme, Opening("analyst", "x" * 100_001))


@pytest.mark.req("COST-3", "SCALE-2")
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ProviderUnavailable(), "failed"),
        (ValueError("a bug"), "failed"),
        (asyncio.CancelledError(), "cut"),
        (GeneratorExit(), "cut"),
        (None, "cut"),
    ],
)
async def test_whatever_ends_a_turn_the_conversation_is_whole_and_the_call_is_settled(
    world: World, rooms: Rooms, error: BaseException | None, status: str
) -> None:
    used = TokenUsage(input_tokens=10, output_tokens=7)
    session = rooms.open(world.acme)
    if error is None:
        await partial_turn(rooms, session, used, None)
    else:
        with pytest.raises(type(error)):
            await partial_turn(rooms, session, used, error)
    assert await said(rooms, session) == [
        ("user", "How many days?", "complete"),
        ("assistant", "Four", status),
    ]
    assert rooms.ledger_rows(world.acme) == [("intent", 100, True), ("settled", 7, True)]
    assert session.cost_picousd == 10 * 3 + 7 * 5


async def partial_turn(
    rooms: Rooms, session: Session, used: TokenUsage, error: BaseException | None
) -> None:
    async with session:
        await rooms.charge(session, used)
        session.write("Four")
        if error is not None:
            raise error


@pytest.mark.req("COST-3")
async def test_calls_that_ended_are_settled_ahead_and_only_once(world: World, rooms: Rooms) -> None:
    async with rooms.open(world.acme) as session:
        await session.settle()
        first = await rooms.charge(session, TokenUsage(input_tokens=1, output_tokens=1))
        await session.settle()
        assert rooms.ledger_rows(world.acme) == [("intent", 100, True)]
        first.ended = True
        second = await rooms.charge(session, TokenUsage(input_tokens=2, output_tokens=2))
        await session.settle()
        assert (first.cost_picousd, second.cost_picousd) == (8, None)
        await session.settle()
        session.finish()
    kinds = [kind for kind, _, _ in rooms.ledger_rows(world.acme)]
    assert sorted(kinds) == ["intent", "intent", "settled", "settled"]
    assert session.cost_picousd == 8 + 16
    assert session.usage == TokenUsage(input_tokens=3, output_tokens=3)
    assert rooms.ledger_rows(world.globex) == []


@pytest.mark.req("COST-2", "COST-3")
@pytest.mark.parametrize("ahead", [False, True])
async def test_each_tool_call_is_in_the_ledger_once_with_what_it_took(
    world: World, rooms: Rooms, ahead: bool
) -> None:
    async with rooms.open(world.acme) as session:
        for n in (1, 2):
            session.used(ToolRecord("lookup", "{}", "ok"), ToolUsage("lookup", 10 * n, n, 100 * n))
            if ahead:
                await session.settle()
        session.finish()
    rows = [r for r in tool_rows(world) if r["tenant_id"] == world.acme.tenant]
    assert [(r["provider"], r["model"], r["duration_ms"], r["row_count"]) for r in rows] == [
        ("tenantry", "lookup", 10, 1),
        ("tenantry", "lookup", 20, 2),
    ]
    assert [r["size_bytes"] for r in rows] == [100, 200]
    assert session.cost_picousd == sum(r["cost_picousd"] for r in rows) == 30 * 7
    assert len(tool_rows(world)) == 2


def tool_rows(world: World) -> list[dict[str, Any]]:
    with world.admin() as connection:
        cursor = connection.execute(
            "SELECT * FROM tenantry.usage_events WHERE operation = 'tool' ORDER BY duration_ms"
        )
        names = [c.name for c in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.mark.req("COST-3")
async def test_a_close_goes_on_to_its_end_however_often_it_is_cancelled(
    world: World, rooms: Rooms
) -> None:
    opened = asyncio.Event()
    session = rooms.open(world.acme)

    async def turn() -> None:
        async with session:
            await rooms.charge(session, TokenUsage(input_tokens=1, output_tokens=1))
            session.write("Fo")
            opened.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(turn())
    await opened.wait()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()
    assert [m[2] for m in await said(rooms, session)] == ["complete", "cut"]
    assert [kind for kind, _, _ in rooms.ledger_rows(world.acme)] == ["intent", "settled"]


@pytest.mark.req("COST-3")
@pytest.mark.parametrize("going_on", [False, True])
@pytest.mark.parametrize("removed", ["assistant", "member", "conversation"])
async def test_a_turn_with_nowhere_to_go_any_more_is_paid_for_and_dropped(
    world: World, rooms: Rooms, removed: str, going_on: bool
) -> None:
    async with rooms.open(world.acme) as before:
        before.finish()
    kept = before.conversation_id if going_on else None
    async with rooms.open(world.acme, Opening("analyst", "And?", kept)) as session:
        await rooms.charge(session, TokenUsage(input_tokens=1, output_tokens=1))
        if removed == "assistant":
            await rooms.assistants.delete(world.acme, session.configuration.assistant_id)
        elif removed == "conversation":
            await rooms.conversations.delete(world.acme, before.conversation_id)
        else:
            remove_member(world)
        session.finish()
    is_stored = removed == "conversation" and not going_on
    assert (session.answer_no is not None) == is_stored
    assert [kind for kind, _, _ in rooms.ledger_rows(world.acme)] == ["intent", "settled"]
    assert session.cost_picousd == 8


def remove_member(world: World) -> None:
    with world.admin() as connection:
        connection.execute(
            "DELETE FROM tenantry.members WHERE member_id = %s", [world.acme.actor.id]
        )


@pytest.mark.req("COST-3")
async def test_a_turn_and_its_settlement_are_stored_together_or_not_at_all(
    world: World, rooms: Rooms
) -> None:
    session = rooms.open(world.acme)

    async def crossed() -> None:
        async with session:
            foreign: Any = await rooms.ledger.open(world.globex, INTENT)
            session.charges.append(Charge(foreign))
            session.finish()

    with pytest.raises(Forbidden):
        await crossed()
    with pytest.raises(NotFound):
        await rooms.transcript(session)
    assert rooms.ledger_rows(world.acme) == []
    assert [kind for kind, _, _ in rooms.ledger_rows(world.globex)] == ["intent"]
