"""Verified queries against a real database; the neighbour has always taught the very question."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from tenantry.core.errors import InvalidRequest, NotFound, StoreUnavailable
from tenantry.core.events import AuditEvent
from tenantry.core.ids import new_id
from tenantry.isolation.context import TenantContext
from tenantry.memory.patterns import Pattern, Patterns
from tenantry.metering.ledger import Ledger
from tenantry.metering.prices import PriceBook, PriceRow, PriceVersion
from tests.integration.memory.words import WordEmbedder
from tests.worlds import World

START = UUID(int=0)
QUESTION = "What was our busiest month?"
THEIRS = "SELECT 'globex'"
OURS = "SELECT 'acme'"
BOOK = PriceVersion.of(
    1, datetime(2025, 1, 1, tzinfo=UTC), [PriceRow("embedded", "*", "input_token", 10)]
)


class Memory:
    """A world in which both tenants have a connector, and globex knows the question already."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ledger = Ledger(world.db, world.writer, PriceBook([BOOK]), world.clock)
        self.patterns = Patterns(world.db, WordEmbedder(), self.ledger, world.audit)
        self.ours, self.theirs = connector(world, world.acme), connector(world, world.globex)

    async def teach(self, question: str = QUESTION, sql: str = OURS) -> Pattern:
        return await self.patterns.add(self.world.acme, self.ours, question, sql)

    def usage(self, ctx: TenantContext) -> list[tuple[Any, ...]]:
        query = (
            "SELECT operation, provider, model, input_tokens, cost_picousd "
            "FROM tenantry.usage_events WHERE tenant_id = %s ORDER BY at"
        )
        with self.world.admin() as connection:
            return connection.execute(query, [ctx.tenant]).fetchall()


def connector(world: World, ctx: TenantContext) -> UUID:
    connector_id = new_id()
    with world.admin() as connection:
        connection.execute(
            "INSERT INTO tenantry.connectors (tenant_id, connector_id, name, kind) "
            "VALUES (%s, %s, 'warehouse', 'files')",
            [ctx.tenant, connector_id],
        )
    return connector_id


@pytest.fixture
async def memory(world: World) -> Memory:
    memory = Memory(world)
    await memory.patterns.add(world.globex, memory.theirs, QUESTION, THEIRS)
    return memory


@pytest.mark.req("MEM-1", "MEM-3")
async def test_a_question_finds_ones_own_pattern_and_never_a_neighbours(
    world: World, memory: Memory
) -> None:
    assert await memory.patterns.match(world.acme, QUESTION) is None
    mine = await memory.teach("Which month was the busiest?")
    found = await memory.patterns.match(world.acme, QUESTION)
    assert found is not None
    # The neighbour's is the very question, with similarity 1; ours is only like it.
    assert found.pattern == mine
    assert 0.2 < found.similarity < 0.9
    theirs = await memory.patterns.match(world.globex, QUESTION)
    assert theirs is not None
    assert theirs.pattern.sql == THEIRS
    assert theirs.similarity == pytest.approx(1.0, abs=1e-3)
    assert theirs.pattern.owner == world.globex.tenant


@pytest.mark.req("MEM-1")
async def test_the_nearest_of_several_is_found_and_equals_come_in_order(
    world: World, memory: Memory
) -> None:
    first = await memory.teach("How many refunds in May?", "SELECT 1")
    await memory.teach("How many refunds in May?", "SELECT 2")
    await memory.teach("Who is our best customer?", "SELECT 3")
    found = await memory.patterns.match(world.acme, "how many refunds in may")
    assert found is not None
    assert found.pattern == first
    other = await memory.patterns.match(world.acme, "our best customer")
    assert other is not None
    assert other.pattern.sql == "SELECT 3"


@pytest.mark.req("MEM-1")
async def test_patterns_are_versioned_and_can_go_back(world: World, memory: Memory) -> None:
    first = await memory.teach()
    second = await memory.patterns.change(world.acme, first.pattern_id, "Which month?", "SELECT 2")
    assert (second.version, second.current_version, second.sql) == (2, 2, "SELECT 2")
    assert (await memory.patterns.get(world.acme, first.pattern_id, 1)).sql == OURS
    found = await memory.patterns.match(world.acme, "Which month?")
    assert found is not None
    assert found.similarity == pytest.approx(1.0, abs=1e-3)
    back = await memory.patterns.roll_back(world.acme, first.pattern_id, 1)
    assert (back.version, back.sql) == (1, OURS)
    assert await memory.patterns.get(world.acme, first.pattern_id) == back
    again = await memory.patterns.match(world.acme, QUESTION)
    assert again is not None
    assert again.pattern == back
    third = await memory.patterns.change(world.acme, first.pattern_id, QUESTION, "SELECT 3")
    assert third.version == 3
    events = [e["action"] for e in await world.audit_events(world.acme)]
    assert events == [
        "pattern.created",
        "pattern.version_added",
        "pattern.rolled_back",
        "pattern.version_added",
    ]


@pytest.mark.req("MEM-1")
async def test_versions_added_at_the_same_time_are_numbered_one_by_one(
    world: World, memory: Memory
) -> None:
    mine = await memory.teach()
    added = await asyncio.gather(
        *(memory.patterns.change(world.acme, mine.pattern_id, QUESTION, f"{n}") for n in range(5))
    )
    assert sorted(p.version for p in added) == [2, 3, 4, 5, 6]


@pytest.mark.req("DB-1", "SEC-4", "MEM-1")
async def test_a_neighbours_pattern_and_connector_are_as_unknown_as_any(
    world: World, memory: Memory
) -> None:
    (theirs,) = await memory.patterns.list_patterns(world.globex, START, 10)
    messages = set()
    for pattern_id, connector_id in ((theirs.pattern_id, memory.theirs), (uuid4(), uuid4())):
        for attempt in (
            memory.patterns.get(world.acme, pattern_id),
            memory.patterns.get(world.acme, pattern_id, 1),
            memory.patterns.change(world.acme, pattern_id, QUESTION, OURS),
            memory.patterns.roll_back(world.acme, pattern_id, 1),
            memory.patterns.remove(world.acme, pattern_id),
            memory.patterns.add(world.acme, connector_id, QUESTION, OURS),
        ):
            with pytest.raises(NotFound) as refused:
                await attempt
            messages.add(refused.value.message)
    assert len(messages) == 1
    assert await memory.patterns.list_patterns(world.globex, START, 10) == [theirs]
    assert await memory.patterns.list_patterns(world.acme, START, 10) == []


@pytest.mark.req("MEM-1")
async def test_a_list_holds_ones_own_in_order_and_goes_on_after_a_cursor(
    world: World, memory: Memory
) -> None:
    made = [await memory.teach(f"Question {n}?") for n in range(3)]
    page = await memory.patterns.list_patterns(world.acme, START, 2)
    assert page == made[:2]
    assert await memory.patterns.list_patterns(world.acme, page[-1].pattern_id, 2) == made[2:]


@pytest.mark.req("MEM-1")
async def test_a_removed_pattern_is_not_recalled_any_more(world: World, memory: Memory) -> None:
    mine = await memory.teach()
    await memory.patterns.remove(world.acme, mine.pattern_id)
    assert await memory.patterns.match(world.acme, QUESTION) is None
    assert await memory.patterns.match(world.globex, QUESTION) is not None
    with pytest.raises(NotFound):
        await memory.patterns.get(world.acme, mine.pattern_id)


@pytest.mark.req("MEM-1")
async def test_vectors_of_another_embedder_are_never_compared(world: World, memory: Memory) -> None:
    await memory.teach()
    newer = Patterns(world.db, WordEmbedder("words-2", 64), memory.ledger, world.audit)
    assert await newer.match(world.acme, QUESTION) is None
    await newer.add(world.acme, memory.ours, QUESTION, "SELECT 'new'")
    found = await newer.match(world.acme, QUESTION)
    assert found is not None
    assert found.pattern.sql == "SELECT 'new'"


@pytest.mark.req("COST-2")
async def test_embedding_is_paid_by_the_tenant_that_asked(world: World, memory: Memory) -> None:
    before = memory.usage(world.globex)
    await memory.teach()
    await memory.patterns.match(world.acme, "How many?")
    assert memory.usage(world.acme) == [
        ("embedding", "embedded", "words-1", 5, 50),
        ("vector_search", "embedded", "words-1", 2, 20),
    ]
    assert memory.usage(world.globex) == before


@pytest.mark.req("MEM-1")
@pytest.mark.parametrize(
    ("question", "sql"),
    [
        ("ab", OURS),
        ("x" * 1001, OURS),
        (QUESTION, ""),
        (QUESTION, "x" * 20_001),
        ("What\0?", OURS),
        (QUESTION, "SELECT '\ud800'"),
    ],
)
async def test_what_cannot_be_a_verified_query_is_refused_before_anything_is_counted(
    world: World, memory: Memory, question: str, sql: str
) -> None:
    with pytest.raises(InvalidRequest):
        await memory.teach(question, sql)
    assert memory.usage(world.acme) == []


@pytest.mark.req("MEM-1")
async def test_a_question_that_is_no_valid_text_is_still_answered(
    world: World, memory: Memory
) -> None:
    await memory.teach()
    assert await memory.patterns.match(world.acme, "What \ud800 was \0 this?") is not None


class BrokenLog:
    """An audit log that cannot be written."""

    async def record(self, event: AuditEvent) -> None:
        raise StoreUnavailable(event.action)


@pytest.mark.req("SEC-4")
async def test_a_pattern_that_cannot_be_recorded_is_not_taught(
    world: World, memory: Memory
) -> None:
    unrecorded = Patterns(world.db, WordEmbedder(), memory.ledger, BrokenLog())
    with pytest.raises(StoreUnavailable):
        await unrecorded.add(world.acme, memory.ours, QUESTION, OURS)
    assert await memory.patterns.match(world.acme, QUESTION) is None
    assert [row[0] for row in memory.usage(world.acme)] == ["vector_search"]
