"""The ledger against a real database, always with the neighbour's rows beside it."""

from datetime import UTC, datetime

import pytest

from tenantry.core.errors import BoundaryCrossed, InvalidRequest
from tenantry.metering.ledger import CallIntent, Ledger, OpenCall
from tenantry.metering.prices import PriceBook, PriceVersion
from tenantry.metering.usage import TokenUsage, ToolUsage
from tests.integration.metering.books import (
    BOOK,
    BOUND,
    INTENT,
    USED,
    USED_COST,
    price_book,
    rows,
    settle,
)
from tests.worlds import World


@pytest.fixture
def ledger(world: World) -> Ledger:
    return Ledger(world.db, world.writer, price_book(world), world.clock)


async def settle_and_fail(world: World, ledger: Ledger, call: OpenCall) -> None:
    async with world.db.tenant(world.acme) as tx:
        await ledger.settle(tx, call, USED)
        raise InvalidRequest("the message could not be stored")


@pytest.mark.req("COST-1", "COST-3")
async def test_a_call_is_an_intent_with_its_bound_and_one_end_with_the_providers_figures(
    world: World, ledger: Ledger
) -> None:
    call = await ledger.open(world.acme, INTENT)
    cost = await settle(world, ledger, world.acme, call, USED, upstream_id="chatcmpl-1")
    intent, end = rows(world, world.acme)
    assert cost == end["cost_picousd"] == USED_COST
    assert (intent["kind"], intent["calls"], intent["output_tokens"]) == ("intent", 0, 1000)
    assert intent["cost_picousd"] == 400 * 250_000 + 1000 * 2_000_000
    assert intent["expires_at"] > intent["at"]
    assert (end["kind"], end["calls"], end["confirmed"]) == ("settled", 1, True)
    assert (end["input_tokens"], end["cached_tokens"]) == (120, 20)
    assert (end["output_tokens"], end["reasoning_tokens"]) == (300, 40)
    assert end["actor"] == str(world.acme.actor)
    assert end["assistant_id"] == INTENT.assistant_id
    assert (end["request_id"], end["upstream_id"]) == ("req-acme", "chatcmpl-1")
    assert end["price_version"] == 7


@pytest.mark.req("COST-3")
async def test_settling_twice_changes_nothing_and_gives_the_same_cost(
    world: World, ledger: Ledger
) -> None:
    call = await ledger.open(world.acme, INTENT)
    first = await settle(world, ledger, world.acme, call, USED)
    again = await settle(world, ledger, world.acme, call, TokenUsage(1, 0, 1))
    own_count = await settle(world, ledger, world.acme, call, TokenUsage(1), confirmed=False)
    assert first == again == own_count == USED_COST
    assert [r["kind"] for r in rows(world, world.acme)] == ["intent", "settled"]


@pytest.mark.req("COST-3")
async def test_a_settle_rolls_back_with_what_the_call_produced(
    world: World, ledger: Ledger
) -> None:
    call = await ledger.open(world.acme, INTENT)
    with pytest.raises(InvalidRequest, match="the message could not be stored"):
        await settle_and_fail(world, ledger, call)
    assert [r["kind"] for r in rows(world, world.acme)] == ["intent"]
    assert await settle(world, ledger, world.acme, call, USED) == USED_COST


@pytest.mark.req("COST-3")
async def test_progress_is_a_running_total_that_bills_nothing_and_stays_inside_the_bound(
    world: World, ledger: Ledger
) -> None:
    call = await ledger.open(world.acme, INTENT)
    await ledger.progress(world.acme, call, TokenUsage(output_tokens=50), upstream_id="up-9")
    await ledger.progress(world.acme, call, TokenUsage(input_tokens=99, output_tokens=5000))
    _, first, second = rows(world, world.acme)
    assert (first["part"], first["input_tokens"], first["output_tokens"]) == (1, 400, 50)
    assert (second["part"], second["input_tokens"], second["output_tokens"]) == (2, 99, 1000)
    assert first["upstream_id"] == "up-9"
    assert {first["calls"], second["calls"]} == {0}


@pytest.mark.req("COST-3")
async def test_confirmed_figures_replace_an_own_count_as_in_double_entry_books(
    world: World, ledger: Ledger
) -> None:
    call = await ledger.open(world.acme, INTENT)
    estimate = TokenUsage(110, 0, 290, estimated=True)
    assert await settle(world, ledger, world.acme, call, estimate) == (
        110 * 250_000 + 290 * 2_000_000
    )
    assert await settle(world, ledger, world.acme, call, USED) == USED_COST
    assert await settle(world, ledger, world.acme, call, USED) == USED_COST
    _, end, back, anew = rows(world, world.acme)
    assert (end["confirmed"], back["confirmed"], anew["confirmed"]) == (False, False, True)
    assert (end["calls"], back["calls"], anew["calls"]) == (1, -1, 1)
    assert end["cost_picousd"] + back["cost_picousd"] == 0
    assert anew["cost_picousd"] == USED_COST
    assert (anew["input_tokens"], anew["output_tokens"]) == (120, 300)


@pytest.mark.req("COST-1")
async def test_figures_that_cannot_be_true_are_mended_and_never_confirmed(
    world: World, ledger: Ledger
) -> None:
    call = await ledger.open(world.acme, INTENT)
    lie = TokenUsage(input_tokens=-5, cached_tokens=2**80, output_tokens=2**80)
    await settle(world, ledger, world.acme, call, lie)
    end = rows(world, world.acme)[1]
    assert not end["confirmed"]
    assert (end["input_tokens"], end["cached_tokens"], end["output_tokens"]) == (400, 0, 1000)


@pytest.mark.req("COST-1")
async def test_confirmed_figures_above_the_bound_are_kept_as_they_are(
    world: World, ledger: Ledger
) -> None:
    call = await ledger.open(world.acme, INTENT)
    await settle(world, ledger, world.acme, call, TokenUsage(900, 0, 2000))
    end = rows(world, world.acme)[1]
    assert (end["confirmed"], end["input_tokens"], end["output_tokens"]) == (True, 900, 2000)


@pytest.mark.req("COST-1", "SEC-3")
async def test_a_call_is_never_paid_by_another_tenant(world: World, ledger: Ledger) -> None:
    theirs = await ledger.open(world.globex, INTENT)
    with pytest.raises(BoundaryCrossed):
        await settle(world, ledger, world.acme, theirs, USED)
    with pytest.raises(BoundaryCrossed):
        await ledger.progress(world.acme, theirs, USED)
    assert rows(world, world.acme) == []
    assert [r["kind"] for r in rows(world, world.globex)] == ["intent"]


@pytest.mark.req("COST-3")
@pytest.mark.parametrize(
    "intent",
    [
        CallIntent("chat", "openai", "gpt-5-mini", TokenUsage(-1, 0, 5)),
        CallIntent("chat", "openai", "gpt-5-mini", TokenUsage(1, 0, 2**40)),
        CallIntent("chat", "openai", "gpt-5-mini", BOUND, lifetime_s=0),
    ],
)
async def test_a_bound_that_bounds_nothing_is_refused(
    world: World, ledger: Ledger, intent: CallIntent
) -> None:
    with pytest.raises(InvalidRequest):
        await ledger.open(world.acme, intent)
    assert rows(world, world.acme) == []


@pytest.mark.req("COST-2")
async def test_tools_are_recorded_by_time_rows_and_bytes(world: World, ledger: Ledger) -> None:
    async with world.db.tenant(world.acme) as tx:
        cost = await ledger.record_tool(tx, "tenantry", ToolUsage("query_data", 40, 12, 900))
    (row,) = rows(world, world.acme)
    assert cost == row["cost_picousd"] == 40 * 3 + 12 * 5 + 900 * 7
    assert (row["kind"], row["operation"], row["model"]) == ("recorded", "tool", "query_data")
    assert (row["duration_ms"], row["row_count"], row["size_bytes"]) == (40, 12, 900)
    assert (row["calls"], row["priced"], row["confirmed"]) == (1, True, True)


@pytest.mark.req("COST-2")
async def test_embeddings_are_recorded_by_tokens_under_provider_and_model(
    world: World, ledger: Ledger
) -> None:
    async with world.db.tenant(world.acme) as tx:
        assert await ledger.record_embedding(tx, "multilingual-e5-small", 50) == 500
        assert await ledger.record_embedding(tx, "openai/gpt-5-mini", 2, "vector_search") == 500_000
    first, second = rows(world, world.acme)
    assert (first["provider"], first["model"]) == ("embedded", "multilingual-e5-small")
    assert (second["provider"], second["model"]) == ("openai", "gpt-5-mini")
    assert (first["operation"], second["operation"]) == ("embedding", "vector_search")
    assert (first["input_tokens"], second["input_tokens"]) == (50, 2)


@pytest.mark.req("COST-3")
async def test_what_has_no_price_costs_nothing_and_says_so(world: World, ledger: Ledger) -> None:
    call = await ledger.open(world.acme, CallIntent("chat", "openai", "gpt-unheard-of", BOUND))
    assert await settle(world, ledger, world.acme, call, USED) == 0
    async with world.db.tenant(world.acme) as tx:
        assert await ledger.record_tool(tx, "elsewhere", ToolUsage("t", 1, 1, 1)) == 0
    assert [r["priced"] for r in rows(world, world.acme)] == [False, False, False]


@pytest.mark.req("COST-3")
async def test_a_call_is_settled_by_the_prices_it_was_opened_with(world: World) -> None:
    free = PriceVersion.of(8, datetime(2025, 6, 1, tzinfo=UTC), [])
    book = PriceBook([BOOK])
    ledger = Ledger(world.db, world.writer, book, world.clock)
    call = await ledger.open(world.acme, INTENT)
    newer = Ledger(world.db, world.writer, PriceBook([BOOK, free]), world.clock)
    assert await settle(world, newer, world.acme, call, USED) == USED_COST
    assert rows(world, world.acme)[1]["price_version"] == 7
