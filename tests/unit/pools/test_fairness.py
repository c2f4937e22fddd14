"""Nobody's need, dead database or flood is felt by another tenant (POOL-3)."""

import asyncio
from dataclasses import replace

import pytest

from tenantry.core.errors import PoolExhausted, SourceUnreachable
from tenantry.pools.pools import Pools
from tests.unit.pools.scripted_server import Customer, context, pools_with
from tests.unit.pools.virtual_time import run


def due_in(customer: Customer, seconds: float) -> Customer:
    """The same, in a request that must end then."""
    deadline = asyncio.get_running_loop().time() + seconds
    return replace(customer, ctx=context(customer.ctx.tenant, deadline))


async def use(
    pools: Pools, customer: Customer, hold_s: float, log: list[str] | None = None
) -> None:
    async with pools.lease(customer.ctx, customer.dial()) as connection:
        if log is not None:
            log.append(customer.database.name)
        await connection.rows()
        await asyncio.sleep(hold_s)


@pytest.mark.req("POOL-3")
def test_tenants_take_turns_however_many_of_one_of_them_wait() -> None:
    async def body() -> list[str]:
        log: list[str] = []
        pools = pools_with(total=1, per_tenant=1, acquire_timeout_s=100.0)
        flood, one, two = (Customer.named(name) for name in ("flood", "one", "two"))
        order = [flood] * 20 + [one, two, one]
        tasks = []
        for customer in order:
            tasks.append(asyncio.create_task(use(pools, customer, 0.1, log)))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        await pools.close()
        return log

    log = run(body())
    assert log[:6] == ["flood", "one", "two", "flood", "one", "flood"]
    assert log[6:] == ["flood"] * 17


@pytest.mark.req("POOL-3")
def test_a_tenant_at_its_own_cap_waits_while_others_do_not() -> None:
    async def body() -> None:
        pools = pools_with(total=4, per_tenant=2)
        acme, globex = Customer.named("acme"), Customer.named("globex")
        greedy = [asyncio.create_task(use(pools, acme, 3.0)) for _ in range(10)]
        await asyncio.sleep(0.5)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await use(pools, globex, 0.0)
        assert loop.time() - began < 0.01
        assert acme.database.most == 2
        await asyncio.gather(*greedy, return_exceptions=True)
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
def test_a_black_holed_database_costs_the_others_nothing() -> None:
    """Times are the loop's own, so that equal means equal."""

    async def body(is_black_hole: bool) -> list[float]:
        pools = pools_with(total=6, per_tenant=2)
        loop = asyncio.get_running_loop()
        dead, others = Customer.named("dead"), [Customer.named(f"t{n}") for n in range(3)]
        dead.database.is_black_hole = is_black_hole
        waits: list[float] = []

        async def visit(customer: Customer) -> None:
            for _ in range(200):
                began = loop.time()
                async with pools.lease(customer.ctx, customer.dial()) as connection:
                    waits.append(loop.time() - began)
                    await connection.rows()
                await asyncio.sleep(0.02)

        async def visit_dead() -> None:
            with pytest.raises(SourceUnreachable):
                await use(pools, dead, 0.0)

        ghosts = [asyncio.create_task(visit_dead()) for _ in range(2)] if is_black_hole else []
        await asyncio.gather(*(visit(customer) for customer in others))
        await asyncio.gather(*ghosts)
        await pools.close()
        return sorted(waits)

    assert run(body(is_black_hole=True)) == pytest.approx(run(body(is_black_hole=False)))


@pytest.mark.req("POOL-3")
def test_a_tenant_that_queues_a_thousand_evicts_no_more_than_it_may_use() -> None:
    async def body() -> None:
        pools = pools_with(total=6, per_tenant=2)
        others = [Customer.named(f"t{n}") for n in range(6)]
        for customer in others:
            await use(pools, customer, 0.0)
        flood = Customer.named("flood")
        tasks = [asyncio.create_task(use(pools, flood, 60.0)) for _ in range(1000)]
        await asyncio.sleep(1.0)
        assert sum(len(customer.database.sessions) for customer in others) == 4
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await pools.close()

    run(body())


@pytest.mark.req("POOL-1", "POOL-3")
def test_a_dedicated_connection_makes_no_room_for_others_but_for_its_own_tenant() -> None:
    async def body() -> None:
        pools = pools_with(total=2, per_tenant=1)
        acme, globex = Customer.named("acme", "dedicated"), Customer.named("globex", "dedicated")
        for customer in (acme, globex):
            await use(pools, customer, 0.0)
        with pytest.raises(PoolExhausted):
            await use(pools, Customer.named("initech"), 0.0)
        other = Customer(acme.ctx, Customer.named("acme2").database)
        await use(pools, other, 0.0)
        assert not acme.database.sessions
        assert len(globex.database.sessions) == 1
        await pools.close()

    run(body())


@pytest.mark.req("POOL-1", "POOL-3")
def test_who_waits_for_a_dedicated_connection_gets_it_though_others_wait_for_a_place() -> None:
    async def body() -> list[str]:
        log: list[str] = []
        pools = pools_with(total=1, per_tenant=1)
        acme, globex = Customer.named("acme", "dedicated"), Customer.named("globex")
        first = asyncio.create_task(use(pools, acme, 1.0, log))
        await asyncio.sleep(0.1)
        stranger = asyncio.create_task(use(pools, globex, 0.0, log))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(use(pools, acme, 0.0, log))
        await asyncio.gather(first, second)
        with pytest.raises(PoolExhausted):
            await stranger
        assert acme.database.dials == 1
        await pools.close()
        return log

    assert run(body()) == ["acme", "acme"]


@pytest.mark.req("POOL-1", "POOL-3")
def test_a_tenants_own_cap_holds_for_connections_it_shares() -> None:
    async def body() -> None:
        pools = pools_with(total=4, per_tenant=2)
        acme, globex, initech = (Customer.named("common", "shared") for _ in range(3))
        globex.database = initech.database = acme.database
        await asyncio.gather(*(use(pools, customer, 0.1) for customer in (globex, globex, initech)))
        held = [asyncio.create_task(use(pools, acme, 2.0)) for _ in range(3)]
        await asyncio.sleep(1.0)
        snapshot = pools.snapshot()
        assert (snapshot.levels["shared"].leased, snapshot.waiting) == (2, 1)
        await asyncio.gather(*held)
        assert acme.database.dials == 3
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
def test_a_driver_that_hangs_in_close_holds_its_place_only_for_a_while() -> None:
    async def body() -> None:
        pools = pools_with(total=1, per_tenant=1, acquire_timeout_s=30.0)
        slow, globex = Customer.named("slow"), Customer.named("globex")
        slow.database.close_s = 3600.0
        await use(pools, slow, 0.0)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await use(pools, globex, 0.0)
        assert 4.9 < loop.time() - began < 5.1
        await pools.close()
        assert pools.snapshot().open == 0

    run(body())


@pytest.mark.req("POOL-3")
def test_one_whose_connection_was_dead_does_not_lose_its_turn() -> None:
    async def body() -> list[str]:
        log: list[str] = []
        pools = pools_with(total=1, per_tenant=1)
        acme, globex = Customer.named("acme"), Customer.named("globex")
        await use(pools, acme, 0.0)
        acme.database.kill_sessions()
        first = asyncio.create_task(use(pools, acme, 0.1, log))
        await asyncio.sleep(0)
        second = asyncio.create_task(use(pools, globex, 0.1, log))
        await asyncio.gather(first, second)
        await pools.close()
        return log

    assert run(body()) == ["acme", "globex"]


@pytest.mark.req("POOL-3")
def test_the_deadline_of_the_request_is_the_deadline_of_the_wait() -> None:
    async def body() -> None:
        pools = pools_with(total=1, acquire_timeout_s=50.0)
        acme, globex = Customer.named("acme"), Customer.named("globex")
        loop = asyncio.get_running_loop()
        async with pools.lease(acme.ctx, acme.dial()):
            with pytest.raises(PoolExhausted):
                await use(pools, due_in(globex, 2.0), 0.0)
            assert loop.time() == pytest.approx(2.0, abs=0.1)
        await pools.close()

        pools = pools_with()
        with pytest.raises(PoolExhausted):
            await use(pools, due_in(globex, -1.0), 0.0)
        assert globex.database.dials == 0
        await pools.close()

    run(body())
