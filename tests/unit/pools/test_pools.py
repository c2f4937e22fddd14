"""The pools as a whole, against a scripted server in virtual time."""

import asyncio

import pytest

from tenantry.core.errors import PoolExhausted, QueryFailed, SourceUnreachable
from tenantry.pools.base import Level
from tests.unit.pools.scripted_server import Customer, pools_with
from tests.unit.pools.virtual_time import run

LEVELS: tuple[Level, ...] = ("hybrid", "dedicated", "shared", "per_request")


@pytest.mark.req("POOL-1")
@pytest.mark.parametrize("level", LEVELS)
def test_every_level_lends_a_tenant_its_own_database(level: Level) -> None:
    async def body() -> None:
        pools = pools_with()
        acme, globex = Customer.named("acme", level), Customer.named("globex", level)
        for customer in (acme, globex, acme):
            async with pools.lease(customer.ctx, customer.dial()) as connection:
                name, *_ = await connection.rows()
                assert name == customer.database.name
        await pools.close()
        assert not acme.database.sessions
        assert not globex.database.sessions
        assert pools.snapshot().open == 0

    run(body())


@pytest.mark.parametrize(("level", "dials"), [("hybrid", 1), ("dedicated", 1), ("shared", 1),
                                              ("per_request", 3)])  # fmt: skip
def test_what_is_kept_is_used_again(level: Level, dials: int) -> None:
    async def body() -> None:
        pools = pools_with()
        acme = Customer.named("acme", level)
        for _ in range(3):
            async with pools.lease(acme.ctx, acme.dial()) as connection:
                await connection.rows()
        assert acme.database.dials == dials
        await pools.close()

    run(body())


@pytest.mark.req("POOL-1")
@pytest.mark.parametrize("level", LEVELS)
def test_a_connector_moved_to_another_level_uses_nothing_of_the_old_one(level: Level) -> None:
    async def body() -> None:
        pools = pools_with(per_tenant=4)
        acme = Customer.named("acme")
        for other in LEVELS:
            async with pools.lease(acme.ctx, acme.dial(level=other)):
                pass
        dials = acme.database.dials
        async with pools.lease(acme.ctx, acme.dial(level=level)):
            pass
        assert dials == len(LEVELS)
        assert acme.database.dials == dials + (level == "per_request")
        await pools.close()

    run(body())


def test_at_the_cap_the_least_recently_used_idle_connection_makes_room() -> None:
    async def body() -> None:
        pools = pools_with(total=2)
        customers = [Customer.named(name) for name in ("acme", "globex", "initech")]
        for customer in customers:
            async with pools.lease(customer.ctx, customer.dial()):
                pass
        open_sessions = [len(customer.database.sessions) for customer in customers]
        assert open_sessions == [0, 1, 1]
        assert pools.snapshot().levels["hybrid"].evicted == 1
        await pools.close()

    run(body())


def test_who_waits_longer_than_the_deadline_is_told_that_nothing_became_free() -> None:
    async def body() -> None:
        pools = pools_with(total=1)
        acme, globex = Customer.named("acme"), Customer.named("globex")
        async with pools.lease(acme.ctx, acme.dial()):
            with pytest.raises(PoolExhausted):
                async with pools.lease(globex.ctx, globex.dial()):
                    pass
        async with pools.lease(globex.ctx, globex.dial()):
            pass
        await pools.close()

    run(body())


def test_an_error_of_the_query_leaves_the_connection_usable_and_any_other_closes_it() -> None:
    async def body() -> None:
        pools = pools_with()
        acme = Customer.named("acme")
        with pytest.raises(QueryFailed):
            async with pools.lease(acme.ctx, acme.dial()) as connection:
                await connection.fail()
        assert acme.database.dials == 1
        with pytest.raises(ZeroDivisionError):
            async with pools.lease(acme.ctx, acme.dial()) as connection:
                assert 1 / 0
        await asyncio.sleep(0.1)
        assert not acme.database.sessions
        assert acme.database.dials == 1
        await pools.close()

    run(body())


def test_a_dead_idle_connection_is_replaced_without_the_tenant_noticing() -> None:
    async def body() -> None:
        pools = pools_with()
        acme = Customer.named("acme")
        async with pools.lease(acme.ctx, acme.dial()):
            pass
        acme.database.kill_sessions()
        async with pools.lease(acme.ctx, acme.dial()) as connection:
            assert await connection.rows("q") == ("acme", "app", "q")
        assert pools.snapshot().levels["hybrid"].lost == 1
        await pools.close()

    run(body())


def test_a_database_that_never_answers_is_unreachable_not_exhausted() -> None:
    async def body() -> None:
        pools = pools_with()
        acme = Customer.named("acme")
        acme.database.is_black_hole = True
        with pytest.raises(SourceUnreachable):
            async with pools.lease(acme.ctx, acme.dial()):
                pass
        assert pools.snapshot().open == 0
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
def test_an_idle_connection_that_a_firewall_forgot_is_replaced_before_the_deadline() -> None:
    async def body() -> None:
        pools = pools_with(acquire_timeout_s=10.0)
        acme = Customer.named("acme")
        async with pools.lease(acme.ctx, acme.dial()):
            pass
        (wire,) = acme.database.sessions
        wire.is_forgotten = True
        async with pools.lease(acme.ctx, acme.dial()) as connection:
            assert await connection.rows("q") == ("acme", "app", "q")
        assert asyncio.get_running_loop().time() < 3.0
        await pools.close()

    run(body())


@pytest.mark.req("POOL-3")
def test_a_database_that_falls_silent_is_unreachable_though_it_had_idle_connections() -> None:
    async def body() -> None:
        pools = pools_with(acquire_timeout_s=3.0, per_tenant=2)
        acme = Customer.named("acme")

        async def use() -> None:
            async with pools.lease(acme.ctx, acme.dial()) as connection:
                await connection.rows()

        await asyncio.gather(use(), use())
        acme.database.is_black_hole = True
        with pytest.raises(SourceUnreachable):
            await use()
        assert asyncio.get_running_loop().time() == pytest.approx(3.0, abs=0.1)
        await pools.close()
        assert not acme.database.sessions

    run(body())
