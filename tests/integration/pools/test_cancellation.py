"""Cancelled while a real server is answering: nobody reads that answer, no session stays."""

import asyncio
import random
from collections import Counter

import pytest

from tenantry.core.clock import SystemClock
from tenantry.core.errors import PoolExhausted
from tenantry.pools.base import Dial, Level, PoolCaps
from tenantry.pools.pools import Pools
from tests.sources.tenant_databases import (
    PlainConnection,
    TenantDatabase,
    TenantServer,
    sessions_gone,
)
from tests.unit.pools.scripted_server import Recorded

LEVELS: tuple[Level, ...] = ("hybrid", "dedicated", "shared", "per_request")
AT_ONCE = 12


async def ask(pools: Pools, tenant: TenantDatabase, number: int, longest_s: float) -> None:
    dial: Dial[PlainConnection] = tenant.dial()
    async with pools.lease(tenant.ctx, dial) as connection:
        for part in range(3):
            question = f"{number}-{part}"
            statement = "SELECT name, %s FROM owner, pg_sleep(%s)"
            rows = await connection.rows(statement, [question, longest_s / 4])
            assert rows == [(tenant.name, question)]


async def cancel_at_random(server: TenantServer, cancellations: int, longest_s: float) -> None:
    dice, outcomes, audit = random.Random(11), Counter[str](), Recorded()
    pools = Pools(PoolCaps(total=24, per_tenant=3), audit, SystemClock())
    for number, tenant in enumerate(server.tenants):
        tenant.level = LEVELS[number % len(LEVELS)]

    async def try_once(number: int) -> None:
        task = asyncio.create_task(ask(pools, dice.choice(server.tenants), number, longest_s))
        await asyncio.sleep(dice.uniform(0, longest_s))
        task.cancel()
        await asyncio.wait([task])
        error = None if task.cancelled() else task.exception()
        assert error is None or isinstance(error, PoolExhausted), repr(error)
        outcomes["cancelled" if task.cancelled() else "ended"] += 1

    async def keep_trying(first: int) -> None:
        number = first
        while outcomes["cancelled"] < cancellations:
            await try_once(number)
            number += AT_ONCE

    await asyncio.gather(*(keep_trying(first) for first in range(AT_ONCE)))
    for tenant in server.tenants:  # whoever was cancelled before, now gets its own answer
        await ask(pools, tenant, -1, 0.0)
    await pools.close()
    snapshot = pools.snapshot()
    assert (snapshot.open, snapshot.waiting, snapshot.closing) == (0, 0, 0)
    assert not audit.events
    assert await sessions_gone(server) == {}


@pytest.mark.req("POOL-2", "POOL-3")
async def test_random_cancellations_cross_no_answer_and_leave_no_session(
    tenant_server: TenantServer,
) -> None:
    await cancel_at_random(tenant_server, cancellations=150, longest_s=0.06)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.req("POOL-2", "POOL-3")
async def test_ten_thousand_cancellations_cross_no_answer_and_leave_no_session(
    tenant_server: TenantServer,
) -> None:
    await cancel_at_random(tenant_server, cancellations=10_000, longest_s=0.06)
