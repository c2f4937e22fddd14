"""Calls with a tenant's own account: counted like all others, never priced, always marked."""

from dataclasses import replace

import psycopg
import pytest

from tenantry.metering.export import csv_lines
from tenantry.metering.ledger import Ledger
from tenantry.metering.reconcile import ProviderEntry, Reconciler
from tenantry.metering.reports import UsageReports, tenant_totals
from tenantry.metering.sweeper import Sweeper
from tenantry.metering.usage import TokenUsage
from tests.integration.metering.books import (
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
OWN = replace(INTENT, account="ours", payer="tenant")
PLATFORMS = replace(INTENT, account="openai")


@pytest.fixture
async def ledger(world: World) -> Ledger:
    """A ledger in which globex has a call with its own account already."""
    ledger = Ledger(world.db, world.writer, price_book(world), world.clock, instance=GONE)
    theirs = await ledger.open(world.globex, OWN)
    await ledger.close(world.globex, theirs, USED)
    return ledger


@pytest.mark.req("COST-4")
async def test_what_the_tenant_pays_itself_is_counted_and_costs_nothing(
    world: World, ledger: Ledger
) -> None:
    closed, settled, swept = [await ledger.open(world.acme, OWN) for _ in range(3)]
    assert await ledger.close(world.acme, closed, USED) == 0
    await ledger.progress(world.acme, settled, TokenUsage(output_tokens=5))
    assert await settle(world, ledger, world.acme, settled, USED, confirmed=False) == 0
    await Sweeper(world.operator_db).sweep()
    found = rows(world, world.acme)
    assert {row["kind"] for row in found} == {"intent", "progress", "settled", "swept"}
    marks = {(row["account"], row["payer"], row["cost_picousd"], row["priced"]) for row in found}
    assert marks == {("ours", "tenant", 0, True)}
    end = [row for row in found if row["call_id"] == swept.call_id][-1]
    assert (end["kind"], end["input_tokens"]) == ("swept", 400)


@pytest.mark.req("COST-3", "COST-4")
async def test_a_providers_figures_correct_tokens_and_never_a_cost(
    world: World, ledger: Ledger
) -> None:
    call = await ledger.open(world.acme, OWN)
    await settle(world, ledger, world.acme, call, TokenUsage(4, 0, 5), confirmed=False)
    reconciler = Reconciler(world.db, world.operator_db, price_book(world))
    entry = ProviderEntry(2, str(call.call_id), USED)
    (outcome,) = await reconciler.apply(world.acme, [entry])
    assert (outcome.status, outcome.cost_change_picousd) == ("corrected", 0)
    found = rows(world, world.acme)
    assert sum(row["output_tokens"] for row in found if row["kind"] != "intent") == 300
    assert {(row["payer"], row["account"], row["cost_picousd"]) for row in found} == {
        ("tenant", "ours", 0)
    }


@pytest.mark.req("COST-4", "COST-5")
async def test_reports_tell_whose_account_and_who_pays(world: World, ledger: Ledger) -> None:
    for intent in (OWN, OWN, PLATFORMS):
        call = await ledger.open(world.acme, intent)
        await ledger.close(world.acme, call, USED)
    reports = UsageReports(world.db)
    models = await reports.by(world.acme, "model", all_time())
    assert [(line.key, line.payer, line.sums.calls) for line in models] == [
        ("openai/gpt-5-mini", "platform", 1),
        ("openai/gpt-5-mini", "tenant", 2),
    ]
    accounts = await reports.by(world.acme, "account", all_time())
    assert [(line.key, line.payer, line.sums.cost_picousd) for line in accounts] == [
        ("openai", "platform", USED_COST),
        ("ours", "tenant", 0),
    ]
    totals = (await reports.totals(world.acme, all_time())).sums
    assert (totals.calls, totals.tenant_paid_calls, totals.cost_picousd) == (3, 2, USED_COST)
    overall = await tenant_totals(world.operator_db, all_time())
    assert overall[world.globex.tenant].tenant_paid_calls == 1
    assert overall[world.globex.tenant].cost_picousd == 0
    lines = [line async for line in csv_lines(reports.all_events(world.acme, all_time()))]
    assert "account,payer" in lines[0]
    assert sum("ours,tenant," in line for line in lines) == 4


@pytest.mark.req("COST-4")
async def test_the_database_takes_no_price_for_what_the_tenant_pays(
    world: World, ledger: Ledger
) -> None:
    call = await ledger.open(world.acme, OWN)
    forged = "INSERT INTO tenantry.usage_events (tenant_id, call_id, kind, operation, actor,"
    forged += " provider, model, calls, price_version, payer, cost_picousd) VALUES"
    forged += " (%s, %s, 'settled', 'chat', 'a', 'p', 'm', 1, 0, 'tenant', 1)"
    with world.admin() as admin, pytest.raises(psycopg.errors.CheckViolation):
        admin.execute(forged, [world.acme.tenant, call.call_id])
