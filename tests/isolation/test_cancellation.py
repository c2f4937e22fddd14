"""A connection whose work was cancelled is closed, never given to the next tenant (POOL-2)."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from tenantry.core.errors import TenantryError
from tenantry.db.pool import Connection
from tenantry.isolation.context import TenantContext
from tests.isolation.arena import Arena, build
from tests.worlds import Cluster

_ANSWER = b"SELECT %(nonce)s::text AS nonce, tenant_id FROM tenantry.members, pg_sleep(%(wait)s)"


@pytest.fixture(scope="module")
def arena(cluster: Cluster, database: str) -> Arena:
    return build(cluster, database)


@dataclass
class Log:
    """What happened to connections and answers."""

    cancelled: list[Connection] = field(default_factory=list)
    reused: int = 0
    crossed: int = 0
    answered: int = 0


async def ask(arena: Arena, door: Any, ctx: TenantContext, log: Log, wait_s: float) -> None:
    """Two questions with a nonce each; the connection is noted if this is cancelled between them.

    Cancelled after the last answer, it may have been committed and returned in order.
    """
    connection: Connection | None = None
    try:
        async with door.tenant(ctx) as tx:
            connection = tx._connection
            log.reused += connection in log.cancelled
            for _ in range(2):
                nonce = str(random.getrandbits(64))
                rows = await tx.rows(_ANSWER, nonce=nonce, wait=wait_s)
                log.crossed += rows != [{"nonce": nonce, "tenant_id": ctx.tenant}]
                log.answered += 1
            connection = None
    except asyncio.CancelledError:
        if connection is not None:
            log.cancelled.append(connection)
        raise


async def storm(arena: Arena, cancellations: int, seed: int) -> tuple[Log, dict[str, int]]:
    """Random cancellations over few connections, both tenants at once."""
    chance = random.Random(seed)
    log = Log()
    sides = (arena.acme.ctx, arena.globex.ctx)
    async with arena.pool(4) as pool:
        door = arena.door(pool)

        async def one(number: int) -> None:
            work = asyncio.create_task(
                ask(arena, door, sides[number % 2], log, chance.random() * 0.004)
            )
            await asyncio.sleep(chance.random() * 0.02)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

        for start in range(0, cancellations, 12):
            await asyncio.gather(*(one(n) for n in range(start, min(start + 12, cancellations))))
        # Every place in the pool still works, all at once: none was lost to a cancellation.
        meeting = asyncio.Barrier(4)

        async def meet(ctx: TenantContext) -> None:
            async with door.tenant(ctx) as tx:
                await asyncio.wait_for(meeting.wait(), 20)
                assert await tx.value(b"SELECT tenant_id FROM tenantry.members") == ctx.tenant

        await asyncio.gather(*(meet(ctx) for ctx in sides * 2))
        stats = pool.stats()
    return log, stats


def verify(arena: Arena, log: Log, stats: dict[str, int]) -> None:
    """No crossed answer, no cancelled connection in use, none left behind."""
    assert (log.crossed, log.reused) == (0, 0)
    assert all(connection.closed for connection in log.cancelled)
    assert stats["pool_size"] <= 4
    with arena.admin() as admin:
        left = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'tenantry_app'"
            " AND datname = current_database() AND state <> 'idle'"
        ).fetchone()
    assert left == (0,)


@pytest.mark.req("POOL-2", "DB-3")
async def test_no_answer_is_crossed_under_random_cancellation(arena: Arena) -> None:
    log, stats = await storm(arena, 300, seed=1)
    verify(arena, log, stats)
    assert len(log.cancelled) > 50  # else nothing was tried
    assert log.answered > 50


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.req("POOL-2", "DB-3")
async def test_no_answer_is_crossed_in_ten_thousand_cancellations(arena: Arena) -> None:
    log, stats = await storm(arena, 10_000, seed=2)
    verify(arena, log, stats)


@pytest.mark.req("POOL-2")
async def test_cancelled_query_ends_on_the_server_and_its_connection_is_closed(
    arena: Arena,
) -> None:
    seen: list[Connection] = []
    started = asyncio.Event()

    async with arena.pool() as pool:
        door = arena.door(pool)

        async def work() -> None:
            async with door.tenant(arena.acme.ctx) as tx:
                seen.append(tx._connection)
                started.set()
                await tx.value(b"SELECT pg_sleep(60)")

        task = asyncio.create_task(work())
        await started.wait()
        await asyncio.sleep(0.05)  # the statement is on its way
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen[0].closed
        async with door.tenant(arena.globex.ctx) as tx:
            assert tx._connection is not seen[0]
            assert await tx.value(b"SELECT name FROM tenantry.tenants") is not None


@pytest.mark.req("POOL-2")
@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt(), GeneratorExit()])
async def test_work_that_breaks_unexpectedly_closes_its_connection(
    arena: Arena, error: BaseException
) -> None:
    async with arena.pool() as pool:
        door = arena.door(pool)
        seen: list[Connection] = []

        async def work() -> None:
            async with door.tenant(arena.acme.ctx, keeping=True) as tx:
                seen.append(tx._connection)
                await tx.execute(b"UPDATE tenantry.members SET display_name = 'half'")
                raise error

        with pytest.raises(type(error)):
            await work()
        assert seen[0].closed
        async with door.tenant(arena.acme.ctx) as tx:
            assert await tx.value(b"SELECT display_name FROM tenantry.members") == ""


@pytest.mark.req("POOL-2")
async def test_error_of_ours_rolls_back_and_keeps_the_connection(arena: Arena) -> None:
    async with arena.pool() as pool:
        door = arena.door(pool)
        seen: list[Connection] = []

        async def work() -> None:
            async with door.tenant(arena.acme.ctx, keeping=True) as tx:
                seen.append(tx._connection)
                await tx.execute(b"UPDATE tenantry.members SET display_name = 'half'")
                raise TenantryError

        with pytest.raises(TenantryError):
            await work()
        async with door.tenant(arena.acme.ctx) as tx:
            assert tx._connection is seen[0]
            assert await tx.value(b"SELECT display_name FROM tenantry.members") == ""
