"""A replaced credential and a removed connector leave no connection behind (POOL-3)."""

import asyncio

import pytest

from tenantry.core.errors import PoolExhausted
from tenantry.pools.base import Level
from tenantry.pools.pools import Pools
from tests.unit.pools.scripted_server import Customer, pools_with
from tests.unit.pools.virtual_time import run

KEPT: tuple[Level, ...] = ("hybrid", "dedicated", "shared")


async def use(pools: Pools, customer: Customer, version: int = 1, hold_s: float = 0.0) -> None:
    async with pools.lease(customer.ctx, customer.dial(version)) as connection:
        await connection.rows()
        await asyncio.sleep(hold_s)


@pytest.mark.req("POOL-3")
@pytest.mark.parametrize("level", KEPT)
def test_idle_connections_of_a_replaced_credential_are_closed_at_once(level: Level) -> None:
    async def body() -> None:
        pools = pools_with()
        acme = Customer.named("acme", level)
        await use(pools, acme)
        await pools.retire(acme.ctx.tenant, acme.connector, older_than=2)
        await asyncio.sleep(0)
        assert not acme.database.sessions
        assert pools.snapshot().levels[level].retired == 1
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
@pytest.mark.parametrize("older_than", [2, None])
def test_a_lent_connection_finishes_its_query_and_is_closed_on_return(
    older_than: int | None,
) -> None:
    async def body() -> None:
        pools = pools_with()
        acme = Customer.named("acme")
        async with pools.lease(acme.ctx, acme.dial()) as connection:
            await pools.retire(acme.ctx.tenant, acme.connector, older_than)
            assert await connection.rows("still") == ("acme", "app", "still")
        assert not acme.database.sessions
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
@pytest.mark.parametrize("older_than", [2, None])
def test_a_connection_that_was_being_dialled_is_not_kept(older_than: int | None) -> None:
    async def body() -> None:
        pools = pools_with()
        acme = Customer.named("acme")
        task = asyncio.create_task(use(pools, acme))
        await asyncio.sleep(0.0005)
        await pools.retire(acme.ctx.tenant, acme.connector, older_than)
        await task
        assert not acme.database.sessions
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
def test_a_session_that_still_has_the_old_credential_leaves_nothing_idle() -> None:
    async def body() -> None:
        pools = pools_with()
        acme = Customer.named("acme")
        await pools.retire(acme.ctx.tenant, acme.connector, older_than=5)
        await pools.retire(acme.ctx.tenant, acme.connector, older_than=3)  # came late
        await use(pools, acme, version=4)
        assert not acme.database.sessions
        await use(pools, acme, version=5)
        assert len(acme.database.sessions) == 1
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
def test_versions_never_share_a_connection() -> None:
    async def body() -> None:
        pools = pools_with()
        acme = Customer.named("acme")
        await use(pools, acme, version=1)
        await use(pools, acme, version=2)
        assert acme.database.dials == 2
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
def test_nobody_else_and_no_newer_version_is_retired() -> None:
    async def body() -> None:
        pools = pools_with()
        acme, globex = Customer.named("acme"), Customer.named("globex")
        await use(pools, acme, version=2)
        await use(pools, globex)
        await pools.retire(acme.ctx.tenant, acme.connector, older_than=2)
        await pools.retire(globex.ctx.tenant, acme.connector)
        assert len(acme.database.sessions) == len(globex.database.sessions) == 1
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
def test_a_connection_granted_but_not_yet_taken_is_retired_too() -> None:
    """Between the grant and the waiter's next step, the connection is neither idle nor lent."""

    async def body() -> None:
        pools = pools_with(total=1, per_tenant=1)
        acme = Customer.named("acme", "dedicated")
        holder = asyncio.create_task(use(pools, acme, hold_s=1.0))
        await asyncio.sleep(0.1)
        waiter = asyncio.create_task(use(pools, acme))
        await holder
        waiter.cancel()
        await pools.retire(acme.ctx.tenant, acme.connector, older_than=2)
        await asyncio.wait([waiter])
        await pools.close()
        assert not acme.database.sessions
        assert pools.snapshot().open == 0

    run(body())


def test_after_the_end_nothing_is_given_out_and_what_comes_back_is_closed() -> None:
    async def body() -> None:
        pools = pools_with(total=1)
        acme, globex = Customer.named("acme"), Customer.named("globex")
        holder = asyncio.create_task(use(pools, acme, hold_s=1.0))
        await asyncio.sleep(0.1)
        waiter = asyncio.create_task(use(pools, globex))
        await asyncio.sleep(0.1)
        await pools.close()
        with pytest.raises(PoolExhausted):
            await waiter
        with pytest.raises(PoolExhausted):
            await use(pools, globex)
        await holder
        await pools.close()
        assert not acme.database.sessions
        assert pools.snapshot().open == 0

    run(body())
