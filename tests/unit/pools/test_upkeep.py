"""Upkeep: what idles too long, lives too long or is dead goes, and only that (POOL-3)."""

import asyncio

import pytest

from tenantry.pools.pools import Pools
from tests.unit.pools.scripted_server import Customer, pools_with
from tests.unit.pools.virtual_time import run


async def use(pools: Pools, customer: Customer) -> None:
    async with pools.lease(customer.ctx, customer.dial()) as connection:
        await connection.rows()


@pytest.mark.req("POOL-3")
@pytest.mark.parametrize(("after_s", "open_sessions"), [(59.0, 1), (61.0, 0)])
def test_an_idle_connection_is_closed_after_its_time(after_s: float, open_sessions: int) -> None:
    async def body() -> None:
        pools = pools_with(idle_s=60.0)
        acme = Customer.named("acme")
        await use(pools, acme)
        await asyncio.sleep(after_s)
        await pools.tend()
        await asyncio.sleep(0.1)
        assert len(acme.database.sessions) == open_sessions
        assert pools.snapshot().levels["hybrid"].expired == 1 - open_sessions
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
def test_a_connection_that_is_used_all_the_time_is_replaced_when_it_is_too_old() -> None:
    async def body() -> None:
        pools = pools_with(max_lifetime_s=100.0)
        acme = Customer.named("acme")
        for _ in range(25):
            await use(pools, acme)
            await asyncio.sleep(10.0)
        assert acme.database.dials == 3
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
def test_a_dead_idle_connection_is_found_and_its_place_given_up() -> None:
    async def body() -> None:
        pools = pools_with(idle_s=3600.0)
        acme, globex = Customer.named("acme"), Customer.named("globex")
        for customer in (acme, globex):
            await use(pools, customer)
        acme.database.kill_sessions()
        await asyncio.sleep(31.0)
        await pools.tend()
        await asyncio.sleep(0.1)
        figures = pools.snapshot().levels["hybrid"]
        assert (figures.idle, figures.lost) == (1, 1)
        assert pools.snapshot().open == 1
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
def test_a_black_holed_server_is_found_dead_by_its_health_check() -> None:
    async def body() -> None:
        pools = pools_with(idle_s=3600.0)
        acme = Customer.named("acme")
        await use(pools, acme)
        acme.database.is_black_hole = True
        await asyncio.sleep(31.0)
        await pools.tend()
        await asyncio.sleep(0.1)
        assert pools.snapshot().open == 0
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
def test_a_connection_in_a_health_check_is_not_lent_and_comes_back() -> None:
    async def body() -> None:
        pools = pools_with(total=1, idle_s=3600.0)
        acme = Customer.named("acme")
        await use(pools, acme)
        await asyncio.sleep(31.0)
        acme.database.latency_s = 1.0
        tending = asyncio.create_task(pools.tend())
        await asyncio.sleep(0.5)
        await use(pools, acme)  # has to wait for the ping: it is the only place there is
        await tending
        assert acme.database.dials == 1
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
def test_a_connection_retired_during_its_health_check_is_closed_after_it() -> None:
    async def body() -> None:
        pools = pools_with(idle_s=3600.0)
        acme = Customer.named("acme")
        await use(pools, acme)
        await asyncio.sleep(31.0)
        tending = asyncio.create_task(pools.tend())
        await asyncio.sleep(0.0005)
        await pools.retire(acme.ctx.tenant, acme.connector)
        await tending
        await asyncio.sleep(0.1)
        assert not acme.database.sessions
        assert pools.snapshot().levels["hybrid"].retired == 1
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
def test_the_pools_may_end_during_a_health_check() -> None:
    async def body() -> None:
        pools = pools_with(idle_s=3600.0)
        acme = Customer.named("acme")
        await use(pools, acme)
        await asyncio.sleep(31.0)
        upkeep = asyncio.create_task(pools.tend())
        await asyncio.sleep(0.0005)
        await pools.close()
        await upkeep
        assert not acme.database.sessions
        assert pools.snapshot().open == 0

    run(body())


@pytest.mark.req("POOL-3")
def test_upkeep_runs_until_it_is_cancelled() -> None:
    async def body() -> None:
        pools = pools_with(idle_s=60.0)
        acme = Customer.named("acme")
        upkeep = asyncio.create_task(pools.run())
        await use(pools, acme)
        await asyncio.sleep(70.0)
        assert not acme.database.sessions
        upkeep.cancel()
        await asyncio.wait([upkeep])
        await pools.close()

    run(body())
