"""Entries become equal to the provider's, once, in the right tenant, all or none."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from tenantry.core.errors import InvalidRequest
from tenantry.metering.entries import Correction, confirm
from tenantry.metering.ledger import Ledger
from tenantry.metering.reconcile import Outcome, ProviderEntry, Reconciler, Whole, read_export
from tenantry.metering.sweeper import Sweeper
from tenantry.metering.usage import TokenUsage
from tests.integration.metering.books import (
    BOUND,
    INTENT,
    USED,
    USED_COST,
    kinds,
    price_book,
    rows,
    settle,
)
from tests.worlds import World

GONE = 4711
DOUBLE = TokenUsage(240, 40, 600, 80)


@pytest.fixture
def ledger(world: World) -> Ledger:
    return Ledger(world.db, world.writer, price_book(world), world.clock, instance=GONE)


@pytest.fixture
def reconciler(world: World) -> Reconciler:
    return Reconciler(world.db, world.operator_db, price_book(world))


def entry(reference: object, usage: TokenUsage = USED, line: int = 2) -> ProviderEntry:
    return ProviderEntry(line, str(reference), usage)


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


async def somebody_waits(world: World) -> None:
    """Return once a session waits for a row that another one wrote."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with world.admin() as connection:
        for _ in range(2000):
            if connection.execute(query).fetchone() != (0,):
                return
            await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


def stands_at(world: World, call_id: object) -> tuple[int, int, int, int]:
    """Calls, unconfirmed calls, output and cost that the acme call adds up to."""
    billed = [
        r
        for r in rows(world, world.acme)
        if r["call_id"] == call_id and r["kind"] not in ("intent", "progress")
    ]
    return (
        sum(r["calls"] for r in billed),
        sum(r["calls"] for r in billed if not r["confirmed"]),
        sum(r["output_tokens"] for r in billed),
        sum(r["cost_picousd"] for r in billed),
    )


@pytest.mark.req("COST-3")
async def test_a_swept_entry_becomes_equal_to_the_providers_and_confirmed(
    world: World, ledger: Ledger, reconciler: Reconciler
) -> None:
    call = await ledger.open(world.acme, INTENT)
    await ledger.progress(world.acme, call, TokenUsage(output_tokens=9), upstream_id="up-1")
    await Sweeper(world.operator_db).sweep()
    swept_cost = 400 * 250_000 + 9 * 2_000_000
    assert stands_at(world, call.call_id) == (1, 1, 9, swept_cost)
    (outcome,) = await reconciler.apply(world.acme, [entry("up-1")])
    assert (outcome.status, outcome.cost_change_picousd) == ("corrected", USED_COST - swept_cost)
    assert stands_at(world, call.call_id) == (1, 0, 300, USED_COST)


@pytest.mark.req("COST-3")
async def test_a_confirmed_entry_gets_the_difference(
    world: World, ledger: Ledger, reconciler: Reconciler
) -> None:
    call = await ledger.open(world.acme, INTENT)
    await settle(world, ledger, world.acme, call, DOUBLE)
    (outcome,) = await reconciler.apply(world.acme, [entry(call.call_id)])
    assert outcome.status == "corrected"
    difference = rows(world, world.acme)[-1]
    assert (difference["kind"], difference["calls"]) == ("reconciled", 0)
    assert difference["output_tokens"] == -300
    assert outcome.cost_change_picousd == difference["cost_picousd"] == -USED_COST
    assert stands_at(world, call.call_id) == (1, 0, 300, USED_COST)


@pytest.mark.req("COST-3")
async def test_a_second_run_changes_nothing(
    world: World, ledger: Ledger, reconciler: Reconciler
) -> None:
    call = await ledger.open(world.acme, INTENT)
    await Sweeper(world.operator_db).sweep()
    first = await reconciler.apply(world.acme, [entry(call.call_id)])
    before = rows(world, world.acme)
    second = await reconciler.apply(world.acme, [entry(call.call_id)])
    assert statuses(first) + statuses(second) == ["corrected", "unchanged"]
    assert rows(world, world.acme) == before


@pytest.mark.req("COST-3")
async def test_a_later_export_may_correct_again(
    world: World, ledger: Ledger, reconciler: Reconciler
) -> None:
    call = await ledger.open(world.acme, INTENT)
    await settle(world, ledger, world.acme, call, USED)
    for usage in (DOUBLE, USED, DOUBLE):
        await reconciler.apply(world.acme, [entry(call.call_id, usage)])
    assert stands_at(world, call.call_id) == (1, 0, 600, 2 * USED_COST)


@pytest.mark.req("COST-3")
async def test_runs_at_once_correct_once(
    world: World, ledger: Ledger, reconciler: Reconciler
) -> None:
    calls = [await ledger.open(world.acme, INTENT) for _ in range(8)]
    await Sweeper(world.operator_db).sweep()
    lines = [entry(call.call_id, line=n) for n, call in enumerate(calls, start=2)]
    results = await asyncio.gather(
        reconciler.apply(world.acme, lines),
        reconciler.apply(world.acme, lines[::-1]),
        reconciler.apply(world.acme, lines),
    )
    done = [status for outcomes in results for status in statuses(outcomes)]
    assert sorted(done) == ["corrected"] * 8 + ["unchanged"] * 16
    for call in calls:
        assert stands_at(world, call.call_id) == (1, 0, 300, USED_COST)


@pytest.mark.req("COST-3")
async def test_a_settle_racing_a_reconciliation_ends_at_the_providers_figures(
    world: World, ledger: Ledger, reconciler: Reconciler
) -> None:
    call = await ledger.open(world.acme, INTENT)
    await Sweeper(world.operator_db).sweep()
    await asyncio.gather(
        settle(world, ledger, world.acme, call, USED),
        reconciler.apply(world.acme, [entry(call.call_id)]),
        settle(world, ledger, world.acme, call, USED),
    )
    assert stands_at(world, call.call_id) == (1, 0, 300, USED_COST)
    assert kinds(world, world.acme).count("reconciled") == 2


@pytest.mark.req("COST-3")
async def test_a_correction_that_waited_for_another_reads_again_and_adds_nothing(
    world: World, ledger: Ledger
) -> None:
    call = await ledger.open(world.acme, INTENT)
    await Sweeper(world.operator_db).sweep()
    prices = price_book(world)

    async def second() -> Correction | None:
        async with world.db.tenant(world.acme) as tx:
            return await confirm(tx, prices, call.call_id, USED, final=True)

    async with world.db.tenant(world.acme) as tx:
        first = await confirm(tx, prices, call.call_id, USED, final=True)
        waiting = asyncio.create_task(second())
        await somebody_waits(world)
    after = await waiting
    assert first is not None
    assert after is not None
    assert (first.changed, after.changed) == (True, False)
    assert stands_at(world, call.call_id) == (1, 0, 300, USED_COST)


@pytest.mark.req("COST-3")
async def test_an_open_call_is_left_for_its_end(
    world: World, ledger: Ledger, reconciler: Reconciler
) -> None:
    call = await ledger.open(world.acme, INTENT)
    assert statuses(await reconciler.apply(world.acme, [entry(call.call_id)])) == ["open"]
    assert kinds(world, world.acme) == ["intent"]


@pytest.mark.req("COST-3", "SEC-3")
async def test_a_neighbours_call_is_as_unknown_as_one_that_never_was(
    world: World, ledger: Ledger, reconciler: Reconciler
) -> None:
    theirs = await ledger.open(world.globex, INTENT)
    await settle(world, ledger, world.globex, theirs, DOUBLE, upstream_id="their-up")
    before = rows(world, world.globex)
    lines = [entry(theirs.call_id, line=2), entry("their-up", line=3), entry(uuid4(), line=4)]
    assert statuses(await reconciler.apply(world.acme, lines)) == ["unknown"] * 3
    assert rows(world, world.globex) == before
    assert rows(world, world.acme) == []


@pytest.mark.req("COST-3")
async def test_unclear_lines_are_listed_and_not_applied(
    world: World, ledger: Ledger, reconciler: Reconciler
) -> None:
    twins = [await ledger.open(world.acme, INTENT) for _ in range(2)]
    for call in twins:
        await settle(world, ledger, world.acme, call, DOUBLE, upstream_id="twin")
    single = await ledger.open(world.acme, INTENT)
    await settle(world, ledger, world.acme, single, DOUBLE, upstream_id="single")
    lines = [
        entry("twin", line=2),
        entry("single", line=3),
        entry(single.call_id, line=4),
    ]
    assert statuses(await reconciler.apply(world.acme, lines)) == ["ambiguous"] * 3
    assert "reconciled" not in kinds(world, world.acme)


@pytest.mark.req("COST-3")
async def test_an_operator_finds_each_lines_tenant(
    world: World, ledger: Ledger, reconciler: Reconciler
) -> None:
    ours = await ledger.open(world.acme, INTENT)
    theirs = await ledger.open(world.globex, INTENT)
    await ledger.progress(world.globex, theirs, BOUND, upstream_id="up-g")
    shared = [await ledger.open(ctx, INTENT) for ctx in (world.acme, world.globex)]
    for ctx, call in zip((world.acme, world.globex), shared, strict=True):
        await ledger.progress(ctx, call, BOUND, upstream_id="shared")
    export = read_export(
        [
            "call_id,upstream_id,input_tokens,output_tokens\n",
            f"{ours.call_id},,1,1\n",
            ",up-g,1,1\n",
            ",shared,1,1\n",
            f"{uuid4()},,1,1\n",
        ]
    )
    located = await reconciler.locate(export)
    assert {t: [e.line for e in lines] for t, lines in located.by_tenant.items()} == {
        world.acme.tenant: [2],
        world.globex.tenant: [3],
    }
    assert [(o.entry.line, o.status) for o in located.rest] == [(4, "ambiguous"), (5, "unknown")]


@pytest.mark.req("COST-3")
async def test_an_export_with_bad_lines_is_refused_whole(
    world: World, ledger: Ledger, reconciler: Reconciler
) -> None:
    call = await ledger.open(world.acme, INTENT)
    await settle(world, ledger, world.acme, call, DOUBLE)
    export = read_export(
        ["call_id,input_tokens,output_tokens\n", f"{call.call_id},1,1\n", "x,1,1\n", "y,,\n"]
    )
    with pytest.raises(InvalidRequest, match=r"line 3: .*; line 4: "):
        await reconciler.locate(export)
    assert kinds(world, world.acme) == ["intent", "settled"]


@pytest.mark.req("COST-3")
async def test_tools_and_storage_are_no_calls_of_a_provider(
    world: World, ledger: Ledger, reconciler: Reconciler
) -> None:
    async with world.db.tenant(world.acme) as tx:
        await ledger.record_embedding(tx, "multilingual-e5-small", 50)
    (recorded,) = rows(world, world.acme)
    lines = [entry(recorded["call_id"])]
    assert statuses(await reconciler.apply(world.acme, lines)) == ["unknown"]


@pytest.mark.req("COST-3")
async def test_what_a_complete_export_does_not_have_and_nobody_confirmed_becomes_nothing(
    world: World, ledger: Ledger, reconciler: Reconciler
) -> None:
    ours = replace(INTENT, account="openai")
    seen, unheard, told, confirmed, other, theirs = [
        await ledger.open(ctx, intent)
        for ctx, intent in (
            *((world.acme, ours) for _ in range(4)),
            (world.acme, replace(INTENT, account="another")),
            (world.globex, replace(ours, payer="tenant")),
        )
    ]
    await ledger.close(world.acme, seen, USED, upstream_id="up-1")
    await ledger.progress(world.acme, told, USED, upstream_id="up-2")
    await ledger.close(world.acme, confirmed, USED, upstream_id="up-3")
    await Sweeper(world.operator_db).sweep()
    still_open = await ledger.open(world.acme, ours)
    now = world.clock.now()
    whole = Whole("openai", now - timedelta(hours=1), now + timedelta(hours=1))

    async def run(*lines: str) -> dict[str, str]:
        export = read_export(["upstream_id,input_tokens,output_tokens,cached_tokens", *lines])
        located = await reconciler.locate(export)
        unseen = await reconciler.unseen(export, located, whole)
        outcomes = list(unseen.rest)
        for owner, entries in unseen.by_tenant.items():
            assert owner == world.acme.tenant
            outcomes += await reconciler.apply(world.acme, entries)
        return {outcome.entry.reference: outcome.status for outcome in outcomes}

    line = "up-1,120,300,20"
    # A line that names no call of ours may be the call whose id we never heard.
    found = await run(line, "up-9,1,1,0")
    assert found == {
        str(unheard.call_id): "unsure", str(told.call_id): "corrected",
        str(confirmed.call_id): "missing",
    }  # fmt: skip
    assert await run(line) == {
        str(unheard.call_id): "corrected", str(confirmed.call_id): "missing",
    }  # fmt: skip
    assert await run(line) == {str(confirmed.call_id): "missing"}
    for call in (unheard, told):
        assert stands_at(world, call.call_id) == (1, 0, 0, 0)
    assert stands_at(world, confirmed.call_id) == (1, 0, 300, USED_COST)
    assert stands_at(world, other.call_id)[1] == 1  # of another account: nothing was said of it
    assert "reconciled" not in kinds(world, world.globex)
    assert theirs.tenant == world.globex.tenant
    assert stands_at(world, still_open.call_id) == (0, 0, 0, 0)
