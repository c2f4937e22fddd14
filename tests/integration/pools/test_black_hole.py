"""One tenant's database swallows every packet: the others must not notice (POOL-3).

A listener that accepts and never answers stands for it. Rounds with and without it alternate in one
run, over the same connections, so that whatever else the machine does hits both.
"""

import asyncio
import logging
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from psycopg.conninfo import make_conninfo

from tenantry.core.clock import SystemClock
from tenantry.core.errors import PoolExhausted, SourceUnreachable
from tenantry.pools.base import Dial, PoolCaps
from tenantry.pools.pools import Pools
from tests.sources.tenant_databases import PlainConnection, TenantDatabase, TenantServer
from tests.unit.pools.scripted_server import Recorded

ROUNDS, LEASES, PAUSE_S = 10, 400, 0.002
VICTIMS = 4


@asynccontextmanager
async def black_hole() -> AsyncIterator[int]:
    """A port where packets disappear."""
    open_sockets: list[asyncio.StreamWriter] = []

    async def swallow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_sockets.append(writer)

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_sockets:
            writer.transport.abort()


async def besiege(pools: Pools, dead: TenantDatabase) -> None:
    """Ask the dead database again and again."""
    while True:
        try:
            async with pools.lease(dead.ctx, dead.dial()):
                pytest.fail("nobody is there")
        except (SourceUnreachable, PoolExhausted):
            await asyncio.sleep(0.01)


async def times_of(pools: Pools, tenant: TenantDatabase, leases: int) -> list[float]:
    """How long each acquisition and its query took, in seconds."""
    times = []
    for _ in range(leases):
        began = time.perf_counter()
        dial: Dial[PlainConnection] = tenant.dial()
        async with pools.lease(tenant.ctx, dial) as connection:
            await connection.rows("SELECT name FROM owner")
        times.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE_S)
    return times


@pytest.fixture
def dead(tenant_server: TenantServer) -> TenantDatabase:
    tenant = tenant_server.tenants[-1]
    return TenantDatabase("dead", tenant.ctx, "", "")


@pytest.mark.req("POOL-3")
async def test_the_others_work_on_while_a_database_swallows_all(
    tenant_server: TenantServer, dead: TenantDatabase
) -> None:
    caps = PoolCaps(total=VICTIMS + 4, per_tenant=4, acquire_timeout_s=0.3)
    pools, others = Pools(caps, Recorded(), SystemClock()), tenant_server.tenants[:VICTIMS]
    async with black_hole() as port:
        dead.conninfo = make_conninfo(host="127.0.0.1", port=port, user="dead", dbname="dead")
        siege = [asyncio.create_task(besiege(pools, dead)) for _ in range(20)]
        await asyncio.sleep(0.1)
        for _ in range(2):
            await asyncio.gather(*(times_of(pools, tenant, 20) for tenant in others))
        level = pools.snapshot().levels["hybrid"]
        assert level.connecting == 4  # the dead one's own share, and no more
        assert level.acquired == 2 * 20 * VICTIMS
        for task in siege:
            task.cancel()
        await asyncio.wait(siege)
    await pools.close()
    assert pools.snapshot().open == 0


@pytest.mark.soak
@pytest.mark.req("POOL-3")
async def test_the_others_p99_stays_within_a_fifth_of_what_it_was(
    tenant_server: TenantServer, dead: TenantDatabase
) -> None:
    caps = PoolCaps(total=VICTIMS + 4, per_tenant=4, acquire_timeout_s=2.0)
    pools, others = Pools(caps, Recorded(), SystemClock()), tenant_server.tenants[:VICTIMS]
    times: dict[bool, list[float]] = {False: [], True: []}
    async with black_hole() as port:
        dead.conninfo = make_conninfo(host="127.0.0.1", port=port, user="dead", dbname="dead")
        await asyncio.gather(*(times_of(pools, tenant, 100) for tenant in others))  # warm up
        for number in range(2 * ROUNDS):
            is_besieged = number % 4 in (1, 2)
            siege = [asyncio.create_task(besiege(pools, dead)) for _ in range(20 * is_besieged)]
            await asyncio.sleep(0.1)
            rounds = await asyncio.gather(*(times_of(pools, tenant, LEASES) for tenant in others))
            times[is_besieged] += [time for one in rounds for time in one]
            for task in siege:
                task.cancel()
            await asyncio.gather(*siege, return_exceptions=True)
    await pools.close()
    before, during = (statistics.quantiles(times[key], n=100)[98] for key in (False, True))
    told = f"p99 {before * 1e3:.2f} ms alone, {during * 1e3:.2f} ms besieged"
    logging.getLogger(__name__).info(told)
    assert during <= 1.2 * before, told
