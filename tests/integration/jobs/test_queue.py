"""The queue over our roles: who may put in, in which order, and what is believed of its rows."""

import pytest
from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.settings import DBSettings
from psycopg import AsyncConnection
from psycopg.errors import InsufficientPrivilege

from tenantry.core.errors import BoundaryCrossed, NotFound, TenantryError
from tenantry.isolation.context import TenantContext
from tenantry.jobs.job import NewJob
from tests.integration.jobs.conftest import Desk, Hand

QUEUE = "SELECT dedupe_key FROM tenantry_queue.pgqueuer WHERE status <> 'failed'"


@pytest.mark.req("FAIR-3")
async def test_a_job_is_there_with_its_transaction_or_not_at_all(desk: Desk) -> None:
    async def enqueue_and_fail() -> None:
        async with desk.world.db.tenant(desk.world.acme) as tx:
            await desk.jobs.enqueue(tx, NewJob("ingest", "nothing", "k", content=b"bytes"))
            raise NotFound

    with pytest.raises(NotFound):
        await enqueue_and_fail()
    for table in ("tenantry.jobs", "tenantry.job_inputs", "tenantry_queue.pgqueuer"):
        assert desk.rows(f"SELECT count(*) FROM {table}") == [(0,)]
    await desk.enqueue(desk.world.acme, "k")
    assert len(desk.rows(QUEUE)) == 1


@pytest.mark.req("FAIR-3")
async def test_the_same_work_is_enqueued_once(desk: Desk) -> None:
    first, second = await desk.enqueue(desk.world.acme, "k", "k")
    (neighbours,) = await desk.enqueue(desk.world.globex, "k")
    assert first == second
    assert neighbours.job_id != first.job_id
    assert len(desk.rows(QUEUE)) == 2


@pytest.mark.req("FAIR-3")
async def test_ten_jobs_behind_ten_thousand_have_their_turn_and_caps_hold(desk: Desk) -> None:
    """Also when the one with ten has worked before, and the one with ten thousand was idle."""
    acme, globex, workers = desk.world.acme, desk.world.globex, 4
    hand = await desk.hand(workers)
    await desk.enqueue(globex, *(f"early {n}" for n in range(30)))
    for _ in range(30):
        await _step(hand, [])
    desk.execute(
        "INSERT INTO tenantry.jobs (tenant_id, job_id, pool, kind, key, subject, actor_kind,"
        " actor_id, actor_role) SELECT %s, gen_random_uuid(), 'ingest', 'nothing', n::text,"
        " n::text, 'member', %s, 'owner' FROM generate_series(1, 10000) AS n",
        acme.tenant, acme.actor.id,
    )  # fmt: skip
    await desk.enqueue(acme, "one more")
    for _ in range(5):
        await _step(hand, [])
    await desk.enqueue(globex, *map(str, range(10)))
    order: list[TenantContext] = []
    while sum(ctx.tenant == globex.tenant for ctx in order) < 10:
        await _step(hand, order)
        at_work = dict(
            desk.rows(
                "SELECT tenant_id, count(*) FROM tenantry.jobs"
                " WHERE state IN ('queued', 'running') GROUP BY tenant_id"
            )
        )
        assert max(at_work.values()) <= 4
        assert len(order) <= 2 * (10 + workers)


async def _step(hand: Hand, order: list[TenantContext]) -> None:
    row = await hand.pick()
    assert row is not None
    attempt = await hand.begin(row)
    assert attempt is not None
    async with attempt.effect():
        pass
    await hand.report(row)
    order.append(attempt.ctx)


@pytest.mark.req("FAIR-3")
async def test_weight_and_cost_decide_who_is_next(desk: Desk) -> None:
    acme, globex = desk.world.acme, desk.world.globex
    for ctx, weight in ((acme, 3), (globex, 1)):  # the same as before models
        desk.execute(
            "UPDATE tenantry.tenants SET weight = %s WHERE tenant_id = %s", weight, ctx.tenant
        )
    await desk.enqueue(acme, *map(str, range(40)), cost=3)
    await desk.enqueue(globex, *map(str, range(40)), cost=3)
    hand, order = await desk.hand(), list[TenantContext]()
    for _ in range(40):
        await _step(hand, order)
    assert sum(ctx.tenant == acme.tenant for ctx in order) == pytest.approx(30, abs=3)


@pytest.mark.req("FAIR-3", "SEC-4")
@pytest.mark.parametrize("part", ["tenant", "subject", "job", "mac", "row", "nonsense"])
async def test_an_altered_row_of_the_queue_is_refused_and_recorded(desk: Desk, part: str) -> None:
    acme, globex = desk.world.acme, desk.world.globex
    (mine,) = await desk.enqueue(acme, "mine")
    (theirs,) = await desk.enqueue(globex, "theirs")
    change = {
        "tenant": (acme.tenant.hex, globex.tenant.hex),
        "subject": ("|mine", "|theirs"),
        "job": (mine.job_id.hex, theirs.job_id.hex),
        "mac": ("job|", "jab|"),
    }
    key = f"{mine.job_id}:1"
    for row_key, payload in desk.rows("SELECT dedupe_key, payload FROM tenantry_queue.pgqueuer"):
        if row_key != key:
            other = bytes(payload)
    (row,) = desk.rows("SELECT payload FROM tenantry_queue.pgqueuer WHERE dedupe_key = %s", key)
    altered = bytes(row[0])
    if part in change:
        old, new = change[part]
        assert old.encode() in altered
        altered = altered.replace(old.encode(), new.encode())
    else:
        altered = other if part == "row" else b"\xff\x00"
    desk.execute(
        "UPDATE tenantry_queue.pgqueuer SET payload = %s WHERE dedupe_key = %s", altered, key
    )
    desk.execute("DELETE FROM tenantry_queue.pgqueuer WHERE dedupe_key <> %s", key)
    hand = await desk.hand()
    picked = await hand.pick()
    assert picked is not None
    with pytest.raises(BoundaryCrossed):
        await hand.begin(picked)
    recorded = desk.rows("SELECT outcome FROM tenantry.audit_events WHERE action = 'job.payload'")
    assert recorded == [("refused",)]
    assert desk.rows("SELECT DISTINCT state FROM tenantry.jobs") == [("queued",)]


@pytest.mark.req("FAIR-3")
async def test_a_job_that_the_queue_lost_waits_again(desk: Desk) -> None:
    await desk.enqueue(desk.world.acme, "lost")
    desk.execute("UPDATE tenantry_queue.pgqueuer SET status = 'failed'")
    assert await desk.jobs.tidy(desk.world.globex) == 0
    assert await desk.jobs.tidy(desk.world.acme) == 1
    await _step(await desk.hand(), [])
    assert desk.rows("SELECT state FROM tenantry.jobs") == [("done",)]


@pytest.mark.req("FAIR-3", "DB-5")
async def test_the_queues_role_adds_no_job_and_reads_no_tenants_row(desk: Desk) -> None:
    await desk.enqueue(desk.world.acme, "k")
    for statement in (
        "INSERT INTO tenantry_queue.pgqueuer (priority, status, entrypoint)"
        " VALUES (0, 'queued', 'ingest')",
        "SELECT * FROM tenantry.jobs",
        "SELECT tenantry.release_jobs('ingest')",
    ):
        async with desk.pool.connection() as connection:
            with pytest.raises(InsufficientPrivilege):
                await connection.execute(statement.encode())
    for statement in (
        "SELECT * FROM tenantry_queue.pgqueuer",
        "SELECT tenantry.rebase_jobs('ingest', 0)",
    ):
        with pytest.raises(TenantryError):
            async with desk.world.db.tenant(desk.world.acme) as tx:
                await tx.rows(statement.encode())


@pytest.mark.req("FAIR-3")
async def test_tags_are_rebased_and_keep_their_order(desk: Desk) -> None:
    desk.execute("UPDATE tenantry_queue.virtual_time SET reached = 3000000000, origin = 2999990000")
    await desk.enqueue(desk.world.acme, "a", "b")
    await desk.enqueue(desk.world.globex, "c")
    in_order = "SELECT dedupe_key, priority FROM tenantry_queue.pgqueuer ORDER BY priority DESC, id"
    before = desk.rows(in_order)
    async with desk.pool.connection() as connection:
        await connection.execute(b"SELECT tenantry.rebase_jobs('ingest', 1000)")
    rows = desk.rows(in_order)
    assert [key for key, _ in rows] == [key for key, _ in before]
    assert max(priority for _, priority in rows) == 0


@pytest.mark.req("FAIR-3")
async def test_the_library_finds_nothing_to_change_in_its_tables(desk: Desk) -> None:
    """But the trigger's function: ours notes the two events that workers wait for."""
    url = desk.world.cluster.admin_url(desk.world.database)
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        settings = DBSettings(db_schema="tenantry_queue")
        queries = Queries(PsycopgDriver(connection), qbe=QueryBuilderEnvironment(settings))
        plan = await queries.plan_upgrade()
    about = [s for s in plan.statements if "fn_pgqueuer_changed" not in s]
    assert [s for s in about if "tg_pgqueuer_changed" not in s] == []
