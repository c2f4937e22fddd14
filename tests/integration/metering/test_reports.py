"""Every report is a sum of the tenant's own rows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tenantry.core.errors import InvalidRequest, TenantryError
from tenantry.metering.export import csv_lines
from tenantry.metering.ledger import CallIntent, Ledger
from tenantry.metering.reports import EventKey, Period, Sums, UsageReports, tenant_totals
from tenantry.metering.sweeper import Sweeper
from tenantry.metering.usage import TokenUsage, ToolUsage
from tests.integration.metering.books import (
    BOUND,
    INTENT,
    USED,
    USED_COST,
    all_time,
    price_book,
    rows,
    settle,
)
from tests.worlds import World

GONE = 4711
TOOL_COST = 40 * 3 + 12 * 5 + 900 * 7


@pytest.fixture
def reports(world: World) -> UsageReports:
    return UsageReports(world.db)


@pytest.fixture
async def ledger(world: World) -> Ledger:
    """A ledger in which acme did a bit of everything, and globex one call."""
    ledger = Ledger(world.db, world.writer, price_book(world), world.clock, instance=GONE)
    settled = await ledger.open(world.acme, INTENT)
    await settle(world, ledger, world.acme, settled, USED)
    estimated = await ledger.open(world.acme, INTENT)
    await settle(world, ledger, world.acme, estimated, TokenUsage(4, 0, 5), confirmed=False)
    unpriced = await ledger.open(world.acme, CallIntent("chat", "openai", "unheard-of", BOUND))
    await settle(world, ledger, world.acme, unpriced, USED)
    async with world.db.tenant(world.acme) as tx:
        await ledger.record_tool(tx, "tenantry", ToolUsage("query_data", 40, 12, 900))
        await ledger.record_embedding(tx, "multilingual-e5-small", 50)
    theirs = await ledger.open(world.globex, INTENT)
    await settle(world, ledger, world.globex, theirs, USED)
    return ledger


ESTIMATE_COST = 4 * 250_000 + 5 * 2_000_000
ALL_COST = USED_COST + ESTIMATE_COST + TOOL_COST + 500


@pytest.mark.req("COST-3", "COST-5")
async def test_totals_are_the_sum_of_events_and_show_what_is_unconfirmed_and_unpriced(
    world: World, reports: UsageReports, ledger: Ledger
) -> None:
    totals = await reports.totals(world.acme, all_time())
    sums = totals.sums
    assert (sums.calls, sums.cost_picousd) == (5, ALL_COST)
    assert (sums.unconfirmed_calls, sums.unconfirmed_picousd) == (1, ESTIMATE_COST)
    assert sums.confirmed_picousd == ALL_COST - ESTIMATE_COST
    assert sums.unpriced_calls == 1
    assert sums.input_tokens == 120 + 4 + 120 + 50
    assert (sums.output_tokens, sums.reasoning_tokens) == (605, 80)
    assert (totals.reserved_calls, totals.reserved_picousd) == (0, 0)
    assert all(type(getattr(sums, name)) is int for name in Sums.__slots__)


@pytest.mark.req("COST-3")
async def test_calls_under_way_are_shown_as_reserved_and_not_billed(
    world: World, reports: UsageReports, ledger: Ledger
) -> None:
    await ledger.open(world.acme, INTENT)
    await ledger.open(world.globex, INTENT)
    totals = await reports.totals(world.acme, all_time())
    assert totals.sums.cost_picousd == ALL_COST
    assert totals.reserved_calls == 1
    assert totals.reserved_picousd == 400 * 250_000 + 1000 * 2_000_000


@pytest.mark.req("COST-3")
async def test_swept_calls_are_unconfirmed_until_they_are_corrected(
    world: World, reports: UsageReports, ledger: Ledger
) -> None:
    call = await ledger.open(world.acme, INTENT)
    await Sweeper(world.operator_db).sweep()
    swept = (await reports.totals(world.acme, all_time())).sums
    assert swept.unconfirmed_calls == 2
    assert swept.unconfirmed_picousd == ESTIMATE_COST + 400 * 250_000
    await settle(world, ledger, world.acme, call, USED)
    corrected = (await reports.totals(world.acme, all_time())).sums
    assert (corrected.calls, corrected.unconfirmed_calls) == (6, 1)
    assert corrected.cost_picousd == ALL_COST + USED_COST


@pytest.mark.req("COST-5")
@pytest.mark.parametrize("dimension", ["day", "model", "account", "assistant", "member"])
async def test_each_whole_report_adds_up_to_the_totals(
    world: World, reports: UsageReports, ledger: Ledger, dimension: str
) -> None:
    lines = await reports.by(world.acme, dimension, all_time())  # type: ignore[arg-type]  # a Literal
    totals = await reports.totals(world.acme, all_time())
    assert sum((line.sums for line in lines), start=Sums()) == totals.sums


@pytest.mark.req("COST-1", "COST-5")
async def test_models_are_reported_with_their_provider_the_costliest_first(
    world: World, reports: UsageReports, ledger: Ledger
) -> None:
    lines = await reports.by(world.acme, "model", all_time())
    assert [(line.key, line.operation) for line in lines] == [
        ("openai/gpt-5-mini", "chat"),
        ("tenantry/query_data", "tool"),
        ("embedded/multilingual-e5-small", "embedding"),
        ("openai/unheard-of", "chat"),
    ]
    assert [line.sums.unpriced_calls for line in lines] == [0, 0, 0, 1]


@pytest.mark.req("COST-2", "COST-5")
async def test_tools_are_reported_by_name(
    world: World, reports: UsageReports, ledger: Ledger
) -> None:
    (line,) = await reports.by(world.acme, "tool", all_time())
    assert (line.key, line.sums.cost_picousd) == ("query_data", TOOL_COST)
    assert (line.sums.duration_ms, line.sums.row_count, line.sums.size_bytes) == (40, 12, 900)


@pytest.mark.req("COST-2", "COST-5")
async def test_tools_are_reported_by_the_connector_they_reached(
    world: World, reports: UsageReports, ledger: Ledger
) -> None:
    warehouse, shop = uuid4(), uuid4()
    for ctx, connector, milliseconds in (
        (world.acme, warehouse, 30),
        (world.acme, shop, 10),
        (world.acme, shop, 5),
        (world.globex, warehouse, 1000),
    ):
        async with world.db.tenant(ctx) as tx:
            usage = ToolUsage("query_data", milliseconds, 2, 0, connector)
            await ledger.record_tool(tx, "tenantry", usage)
    lines = await reports.by(world.acme, "connector", all_time())
    found = {line.key: (line.sums.calls, line.sums.duration_ms) for line in lines}
    assert found == {str(warehouse): (1, 30), str(shop): (2, 15)}


@pytest.mark.req("COST-1", "COST-5")
async def test_members_and_assistants_have_lines_of_their_own(
    world: World, reports: UsageReports, ledger: Ledger
) -> None:
    colleague = world.context(world.acme, "analyst")
    call = await ledger.open(colleague, replace(INTENT, assistant_id=None))
    await settle(world, ledger, colleague, call, USED)
    members = await reports.by(world.acme, "member", all_time())
    chats = {line.key: line.sums.calls for line in members if line.operation == "chat"}
    assert chats == {str(world.acme.actor): 3, str(colleague.actor): 1}
    assistants = await reports.by(world.acme, "assistant", all_time())
    chats = {line.key: line.sums.calls for line in assistants if line.operation == "chat"}
    assert chats == {str(INTENT.assistant_id): 2, "": 2}


@pytest.mark.req("COST-5")
async def test_days_are_utc_and_newest_first(world: World, reports: UsageReports) -> None:
    insert = (
        "INSERT INTO tenantry.usage_events (tenant_id, call_id, kind, calls, at, operation, actor,"
        " provider, model, price_version) VALUES (%s, gen_random_uuid(), 'recorded', 1, %s,"
        " 'tool', 'x', 'p', 'm', 1)"
    )
    with world.admin() as connection:
        for at in ("2026-03-01 23:59:59+00", "2026-03-02 00:30:00+02", "2026-03-02 00:00:00+00"):
            connection.execute(insert, [world.acme.tenant, at])
    march = Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
    lines = await reports.by(world.acme, "day", march)
    assert [(line.key, line.sums.calls) for line in lines] == [("2026-03-02", 1), ("2026-03-01", 2)]


@pytest.mark.req("COST-5")
async def test_a_period_ends_before_its_end(
    world: World, reports: UsageReports, ledger: Ledger
) -> None:
    first = rows(world, world.acme)[0]["at"]
    last = max(r["at"] for r in rows(world, world.acme))
    assert (await reports.totals(world.acme, Period(first, last))).sums.calls == 4
    assert (await reports.totals(world.acme, Period(first, first))).sums == Sums()


@pytest.mark.req("COST-5")
def test_a_period_without_time_zone_or_backwards_is_refused() -> None:
    now = datetime.now(UTC)
    with pytest.raises(InvalidRequest):
        Period(now.replace(tzinfo=None), now)
    with pytest.raises(InvalidRequest):
        Period(now, now - timedelta(seconds=1))


@pytest.mark.req("COST-5", "USE-2")
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_pages_of_events_hold_every_own_row_once_newest_first(
    world: World, reports: UsageReports, ledger: Ledger, limit: int
) -> None:
    seen = []
    after = None
    while True:
        page = await reports.events(world.acme, all_time(), limit, after)
        seen += page.events
        assert len(page.events) <= limit
        if page.next is None:
            break
        after = EventKey.parse(str(page.next))
    assert [e["at"] for e in seen] == sorted((e["at"] for e in seen), reverse=True)
    own = {(r["call_id"], r["kind"]) for r in rows(world, world.acme)}
    assert {(e["call_id"], e["kind"]) for e in seen} == own
    assert len(seen) == len(own) == 8


@pytest.mark.req("USE-2")
async def test_rows_of_one_moment_are_paged_without_loss(
    world: World, reports: UsageReports
) -> None:
    insert = (
        "INSERT INTO tenantry.usage_events (tenant_id, call_id, kind, calls, at, operation, actor,"
        " provider, model, price_version) SELECT %s, gen_random_uuid(), 'recorded', 1,"
        " '2026-03-01Z', 'tool', 'x', 'p', 'm', 1 FROM generate_series(1, 7)"
    )
    with world.admin() as connection:
        connection.execute(insert, [world.acme.tenant])
    march = Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
    seen = set()
    after = None
    for _ in range(4):
        page = await reports.events(world.acme, march, 2, after)
        seen |= {e["call_id"] for e in page.events}
        after = page.next
    assert after is None
    assert len(seen) == 7


@pytest.mark.req("USE-2", "SEC-3")
@pytest.mark.parametrize(
    "text", ["", "x", "a|b|c|d", "2026-01-01|00000000-0000-0000-0000-000000000000|settled|0"]
)
def test_a_cursor_that_we_did_not_write_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        EventKey.parse(text)


@pytest.mark.req("COST-5", "SEC-3")
async def test_a_cursor_of_the_neighbour_gives_own_rows_only(
    world: World, reports: UsageReports, ledger: Ledger
) -> None:
    theirs = await reports.events(world.globex, all_time(), 1)
    assert theirs.next is not None
    page = await reports.events(world.acme, all_time(), 100, theirs.next)
    own = {r["call_id"] for r in rows(world, world.acme)}
    assert {e["call_id"] for e in page.events} <= own
    assert "tenant_id" not in page.events[0]


@pytest.mark.req("COST-5")
async def test_the_csv_holds_every_row(world: World, reports: UsageReports, ledger: Ledger) -> None:
    lines = [line async for line in csv_lines(reports.all_events(world.acme, all_time()))]
    assert len(lines) == 1 + 8
    assert all(line.endswith("\r\n") for line in lines)


@pytest.mark.req("COST-3", "COST-5", "DB-5")
async def test_an_operator_sees_the_totals_of_every_tenant(
    world: World, reports: UsageReports, ledger: Ledger
) -> None:
    totals = await tenant_totals(world.operator_db, all_time())
    assert list(totals) == [world.acme.tenant, world.globex.tenant]
    for ctx in (world.acme, world.globex):
        assert totals[ctx.tenant] == (await reports.totals(ctx, all_time())).sums


@pytest.mark.req("DB-5")
async def test_no_other_role_sees_totals_across_tenants(world: World, ledger: Ledger) -> None:
    for door in (world.auth_db, world.audit_db):
        with pytest.raises(TenantryError):
            await tenant_totals(door, all_time())
