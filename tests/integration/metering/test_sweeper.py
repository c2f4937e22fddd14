"""Abandoned calls are closed, live ones never, and nothing is billed silently."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest

from tenantry.core.errors import TenantryError
from tenantry.isolation.transaction import Database
from tenantry.metering.lease import ProcessLease
from tenantry.metering.ledger import Ledger
from tenantry.metering.sweeper import Sweeper, SweptCall
from tenantry.metering.usage import TokenUsage
from tests.integration.metering.books import (
    INTENT,
    USED,
    USED_COST,
    kinds,
    price_book,
    rows,
    settle,
)
from tests.worlds import World

BRIEF = replace(INTENT, lifetime_s=0.01)
GONE = 4711  # an instance whose lock nobody holds


def of_instance(world: World, instance: int) -> Ledger:
    return Ledger(world.db, world.writer, price_book(world), world.clock, instance=instance)


@pytest.fixture
async def lease(world: World) -> AsyncIterator[ProcessLease]:
    async with ProcessLease(world.operator_db) as held:
        yield held


@pytest.mark.req("COST-3")
async def test_calls_of_a_dead_process_are_closed_at_once_with_what_streamed(
    world: World,
) -> None:
    dead = of_instance(world, GONE)
    call = await dead.open(world.acme, INTENT)
    await dead.progress(world.acme, call, TokenUsage(110, 0, 30), upstream_id="up-1")
    await dead.progress(world.acme, call, TokenUsage(110, 10, 77, 7))
    (swept,) = await Sweeper(world.operator_db).sweep()
    assert (swept.tenant, swept.call_id) == (world.acme.tenant, call.call_id)
    assert swept.request_id == "req-acme"
    end = rows(world, world.acme)[-1]
    assert (end["kind"], end["calls"], end["confirmed"]) == ("swept", 1, False)
    assert (end["input_tokens"], end["cached_tokens"]) == (110, 10)
    assert (end["output_tokens"], end["reasoning_tokens"]) == (77, 7)
    assert end["cost_picousd"] == 100 * 250_000 + 10 * 25_000 + 77 * 2_000_000
    assert end["actor"] == str(world.acme.actor)
    assert kinds(world, world.globex) == []


@pytest.mark.req("COST-3")
async def test_a_call_without_progress_is_closed_with_the_prompts_bound_and_no_output(
    world: World,
) -> None:
    call = await of_instance(world, GONE).open(world.acme, INTENT)
    await Sweeper(world.operator_db).sweep()
    end = rows(world, world.acme)[-1]
    assert (end["call_id"], end["kind"]) == (call.call_id, "swept")
    assert (end["input_tokens"], end["output_tokens"]) == (400, 0)
    assert end["cost_picousd"] == 400 * 250_000


@pytest.mark.req("COST-3")
async def test_calls_of_a_live_process_are_never_swept_before_they_expire(
    world: World, lease: ProcessLease
) -> None:
    alive = of_instance(world, lease.instance)
    await alive.open(world.acme, INTENT)
    brief = await alive.open(world.globex, BRIEF)
    await asyncio.sleep(0.05)
    swept = await Sweeper(world.operator_db).sweep()
    assert [call.call_id for call in swept] == [brief.call_id]
    assert kinds(world, world.acme) == ["intent"]
    assert kinds(world, world.globex) == ["intent", "swept"]


@pytest.mark.req("COST-3")
async def test_when_the_lease_ends_its_calls_can_be_swept(world: World) -> None:
    async with ProcessLease(world.operator_db) as lease:
        ledger = of_instance(world, lease.instance)
        await ledger.open(world.acme, INTENT)
        assert await Sweeper(world.operator_db).sweep() == []
    assert len(await Sweeper(world.operator_db).sweep()) == 1


@pytest.mark.req("COST-3")
async def test_without_a_lease_calls_are_swept_when_they_expire(world: World) -> None:
    ledger = of_instance(world, 0)
    await ledger.open(world.acme, INTENT)
    await ledger.open(world.acme, BRIEF)
    await asyncio.sleep(0.05)
    assert len(await Sweeper(world.operator_db).sweep()) == 1
    assert sorted(kinds(world, world.acme)) == ["intent", "intent", "swept"]


@pytest.mark.req("COST-3")
async def test_settled_calls_are_never_swept_and_swept_ones_only_once(world: World) -> None:
    dead = of_instance(world, GONE)
    settled = await dead.open(world.acme, INTENT)
    await settle(world, dead, world.acme, settled, USED)
    await dead.open(world.globex, INTENT)
    sweeper = Sweeper(world.operator_db)
    assert [call.tenant for call in await sweeper.sweep()] == [world.globex.tenant]
    assert await sweeper.sweep() == []
    assert kinds(world, world.acme) == ["intent", "settled"]


@pytest.mark.req("COST-3")
async def test_a_settle_after_the_sweep_brings_the_entry_to_the_providers_figures(
    world: World,
) -> None:
    dead = of_instance(world, GONE)
    call = await dead.open(world.acme, INTENT)
    await Sweeper(world.operator_db).sweep()
    assert await settle(world, dead, world.acme, call, USED) == USED_COST
    assert await settle(world, dead, world.acme, call, USED) == USED_COST
    billed = rows(world, world.acme)[1:]
    assert [r["kind"] for r in billed] == ["swept", "reconciled", "reconciled"]
    assert sum(r["cost_picousd"] for r in billed) == USED_COST
    assert sum(r["calls"] for r in billed) == 1
    assert sum(r["calls"] for r in billed if not r["confirmed"]) == 0


@pytest.mark.req("COST-3")
async def test_an_own_count_after_the_sweep_leaves_the_swept_entry(world: World) -> None:
    dead = of_instance(world, GONE)
    call = await dead.open(world.acme, INTENT)
    await Sweeper(world.operator_db).sweep()
    cost = await settle(world, dead, world.acme, call, USED, confirmed=False)
    assert cost == 400 * 250_000
    assert kinds(world, world.acme) == ["intent", "swept"]


@pytest.mark.req("COST-3")
async def test_many_abandoned_calls_are_closed_batch_by_batch(world: World) -> None:
    dead = of_instance(world, GONE)
    for _ in range(7):
        await dead.open(world.acme, INTENT)
        await dead.open(world.globex, INTENT)
    swept = await Sweeper(world.operator_db, batch=3).sweep()
    assert len({call.call_id for call in swept}) == 14


@pytest.mark.req("COST-3")
async def test_sweeps_at_once_close_each_call_once(world: World) -> None:
    dead = of_instance(world, GONE)
    for _ in range(20):
        await dead.open(world.acme, INTENT)
    sweepers = [Sweeper(world.operator_db, batch=4).sweep() for _ in range(3)]
    swept = [call for calls in await asyncio.gather(*sweepers) for call in calls]
    assert len(swept) == len({call.call_id for call in swept}) == 20


@pytest.mark.req("COST-3")
async def test_a_sweep_looks_only_behind_the_last_one_and_misses_nothing(world: World) -> None:
    sweeper = Sweeper(world.operator_db)
    await sweeper.sweep()
    await of_instance(world, GONE).open(world.acme, INTENT)
    await of_instance(world, 0).open(world.acme, BRIEF)
    await asyncio.sleep(0.05)
    assert len(await sweeper.sweep()) == 2
    with world.admin() as connection:
        query = (
            "SELECT now() - closed_until < interval '61 minutes' FROM tenantry_private.usage_sweep"
        )
        assert connection.execute(query).fetchone() == (True,)


@pytest.mark.req("COST-3")
async def test_the_lease_is_taken_again_after_its_session_broke(
    world: World, lease: ProcessLease
) -> None:
    query = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    with world.admin() as connection:
        assert connection.execute(query).fetchall()
    for _ in range(100):
        if not lease.held:
            break
        await asyncio.sleep(0.05)
    assert not lease.held
    await lease.wait_until_held()
    await of_instance(world, lease.instance).open(world.acme, INTENT)
    assert await Sweeper(world.operator_db).sweep() == []


VICTIM = """
import asyncio, json, sys
from uuid import UUID
from tenantry.core.clock import SystemClock
from tenantry.db.pool import RolePool
from tenantry.isolation.context import Actor, ContextMint
from tenantry.isolation.signing import ContextSigner
from tenantry.isolation.statements import RoleDatabase
from tenantry.isolation.transaction import Database
from tenantry.metering.lease import ProcessLease
from tenantry.metering.ledger import CallIntent, Ledger
from tenantry.metering.prices import PriceBook
from tenantry.metering.usage import TokenUsage
from tenantry.metering.writer import LedgerWriter
from tenantry.security.audit import AuditLog

async def main(given):
    mint, clock = ContextMint(bytes(32)), SystemClock()
    app = RolePool(given["url"], "tenantry_app", given["app"], 2)
    operator = RolePool(given["url"], "tenantry_operator", given["operator"], 2)
    writer_pool = RolePool(given["url"], "tenantry_ledger", given["ledger"], 2)
    for pool in (app, operator, writer_pool):
        await pool.open()
    actor = Actor("member", UUID(given["member"]), "owner")
    ctx = mint.mint(UUID(given["tenant"]), actor, frozenset(), "req-victim", 1e9)
    signer = ContextSigner(bytes.fromhex(given["key"]))
    db = Database(app, mint, signer, clock)
    audit = AuditLog(RoleDatabase(operator), bytes(32))  # not written to here
    writer = LedgerWriter(RoleDatabase(writer_pool), mint, signer, audit)
    async with ProcessLease(RoleDatabase(operator)) as lease:
        ledger = Ledger(db, writer, PriceBook(), clock, instance=lease.instance)
        call = await ledger.open(ctx, CallIntent("chat", "p", "m", TokenUsage(50, 0, 90)))
        await ledger.progress(ctx, call, TokenUsage(40, 0, 8))
        print(call.call_id, flush=True)
        await asyncio.sleep(600)

asyncio.run(main(json.load(sys.stdin)))
"""


@pytest.mark.req("COST-3", "SCALE-2")
async def test_after_kill_9_the_calls_are_closed_at_once_and_not_before(world: World) -> None:
    secrets = world.cluster.secrets
    given = {
        "url": world.cluster.url(world.database),
        "app": secrets.app_password,
        "operator": secrets.operator_password,
        "ledger": secrets.ledger_password,
        "key": secrets.signing_key,
        "tenant": str(world.acme.tenant),
        "member": str(world.acme.actor.id),
    }
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", VICTIM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert victim.stdin is not None
    assert victim.stdout is not None
    victim.stdin.write(json.dumps(given).encode())
    victim.stdin.close()
    call_id = (await victim.stdout.readline()).decode().strip()
    sweeper = Sweeper(world.operator_db)
    assert await sweeper.sweep() == []
    victim.kill()
    await victim.wait()
    swept: list[SweptCall] = []
    while not swept:  # PostgreSQL needs a moment to see that the session is gone
        swept = await sweeper.sweep()
    assert [str(call.call_id) for call in swept] == [call_id]
    end = rows(world, world.acme)[-1]
    assert (end["kind"], end["input_tokens"], end["output_tokens"]) == ("swept", 40, 8)


@pytest.mark.req("COST-3")
async def test_the_sweeper_runs_until_it_is_stopped(world: World) -> None:
    running = asyncio.create_task(Sweeper(world.operator_db).run(interval_s=0.02))
    dead = of_instance(world, GONE)
    await dead.open(world.acme, INTENT)
    for _ in range(200):
        if "swept" in kinds(world, world.acme):
            break
        await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert kinds(world, world.acme) == ["intent", "swept"]


@pytest.mark.req("COST-3")
async def test_the_sweeper_tries_again_when_the_database_refuses(world: World) -> None:
    await of_instance(world, GONE).open(world.acme, INTENT)
    with world.admin() as connection:
        grant = "EXECUTE ON FUNCTION tenantry.sweep_usage(integer)"
        connection.execute(f"REVOKE {grant} FROM tenantry_operator")
        running = asyncio.create_task(Sweeper(world.operator_db).run(interval_s=0.02))
        await asyncio.sleep(0.2)
        assert not running.done()
        connection.execute(f"GRANT {grant} TO tenantry_operator")
    for _ in range(200):
        if "swept" in kinds(world, world.acme):
            break
        await asyncio.sleep(0.02)
    running.cancel()
    assert kinds(world, world.acme) == ["intent", "swept"]


@pytest.mark.req("DB-5", "COST-3")
async def test_only_the_operators_role_may_sweep(world: World) -> None:
    await of_instance(world, GONE).open(world.acme, INTENT)
    for door in (world.auth_db, world.audit_db):
        with pytest.raises(TenantryError):
            await Sweeper(door).sweep()
    with pytest.raises(TenantryError):
        await _sweep_as_tenant(world.db, world)
    assert kinds(world, world.acme) == ["intent"]


async def _sweep_as_tenant(db: Database, world: World) -> None:
    async with db.tenant(world.acme) as tx:
        await tx.rows(b"SELECT * FROM tenantry.sweep_usage(10)")


@pytest.mark.req("DB-5", "COST-3")
async def test_the_owner_can_add_no_confirmed_sweep_and_no_record(world: World) -> None:
    insert = (
        "INSERT INTO tenantry.usage_events (tenant_id, call_id, kind, calls, operation, actor,"
        " provider, model, price_version, confirmed)"
        " VALUES (%s, gen_random_uuid(), %s, 1, 'chat', 'x', 'p', 'm', 1, %s)"
    )
    with world.admin() as connection:
        connection.execute("SET ROLE tenantry_owner")
        connection.execute(insert, [world.acme.tenant, "swept", False])
        for kind, confirmed in (("swept", True), ("reconciled", False), ("recorded", True)):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(insert, [world.acme.tenant, kind, confirmed])
