"""Two tenants' MySQL connections in one pool: never crossed, leaked or left dirty (POOL-2)."""

import asyncio
import random
from contextlib import aclosing, suppress

import pytest

from tenantry.connectors.database_source import Deadlines
from tenantry.connectors.mysql_driver import MySQLConnection
from tenantry.core.errors import OwnershipViolated, QueryFailed, QueryTimeout
from tenantry.core.ids import ConnectorId, new_id
from tenantry.isolation.context import TenantContext
from tenantry.pools.base import Dial, Identity, PoolCaps, PoolKey
from tenantry.pools.pools import Pools
from tests.integration.connectors.mysql.conftest import Shop
from tests.sources.mariadb import MariaDB, needs_mariadb
from tests.worlds import World

pytestmark = needs_mariadb
_SLOW = "SELECT COUNT(*) FROM seq_1_to_1000 AS slow, seq_1_to_1000 AS b, seq_1_to_1000 AS c"


def _shop(server: MariaDB, owner: str) -> Shop:
    database = server.create_database()
    server.sql(f"CREATE TABLE mine (owner text); INSERT INTO mine VALUES ('{owner}')", database)
    return Shop(server, database, *server.create_login(database))


def _dial(ctx: TenantContext, shop: Shop) -> Dial[MySQLConnection]:
    async def connect() -> MySQLConnection:
        return await MySQLConnection.open(shop.endpoint(), Deadlines())

    key = PoolKey(ctx.tenant, ConnectorId(new_id()), 1)
    return Dial(key, "hybrid", Identity(shop.user, shop.database), connect)


async def _owner(connection: MySQLConnection) -> bytes | None:
    await connection.execute("SELECT owner FROM mine")
    async with aclosing(connection.rows()) as rows:
        ((owner,),) = [row async for row in rows]
    return owner


@pytest.fixture
async def pools(world: World) -> Pools:
    return Pools(PoolCaps(total=6, per_tenant=4), world.audit, world.clock)


@pytest.mark.req("POOL-2")
async def test_cancelled_at_random_no_answer_is_crossed_and_no_connection_leaks(
    world: World, pools: Pools, mariadb: MariaDB
) -> None:
    dice = random.Random(7)
    dials = {
        name: _dial(ctx, _shop(mariadb, name))
        for name, ctx in (("acme", world.acme), ("globex", world.globex))
    }
    answers: list[tuple[str, bytes | None]] = []

    async def one(name: str, slow: bool) -> None:
        ctx = world.acme if name == "acme" else world.globex
        async with pools.lease(ctx, dials[name]) as connection:
            if slow:
                await connection.execute(_SLOW)
            answers.append((name, await _owner(connection)))

    async def cut_short(name: str) -> None:
        task = asyncio.create_task(one(name, dice.random() < 0.5))
        await asyncio.sleep(dice.random() * 0.02)
        task.cancel()
        with suppress(asyncio.CancelledError, QueryFailed):
            await task

    for _ in range(25):
        names = [dice.choice(("acme", "globex")) for _ in range(8)]
        await asyncio.gather(*(cut_short(name) for name in names[:5]))
        await asyncio.gather(*(one(name, slow=False) for name in names[5:]))
    assert len(answers) >= 75
    assert all(answer == name.encode() for name, answer in answers)
    assert pools.snapshot().open <= 6
    await pools.close()
    assert await mariadb.comes_true("AS slow", running=False)


@pytest.mark.req("POOL-2")
async def test_what_a_borrower_leaves_is_gone_for_the_next(
    world: World, pools: Pools, mariadb: MariaDB
) -> None:
    dial = _dial(world.acme, _shop(mariadb, "acme"))
    numbers = []
    for _ in range(2):
        async with pools.lease(world.acme, dial) as connection:
            numbers.append((await connection.identity()).server)
            await connection.execute("SELECT @left")
            async with aclosing(connection.rows()) as rows:
                assert [row async for row in rows] == [(None,)]
            await connection.execute("SET @left = 1")
    assert numbers[0] == numbers[1]  # the same connection both times
    await pools.close()


@pytest.mark.req("POOL-2")
async def test_a_connection_that_changed_its_database_is_closed_and_recorded(
    world: World, pools: Pools, mariadb: MariaDB
) -> None:
    dial = _dial(world.acme, _shop(mariadb, "acme"))
    with pytest.raises(OwnershipViolated):
        async with pools.lease(world.acme, dial) as connection:
            await connection.execute("USE information_schema")
    assert pools.snapshot().levels["hybrid"].violated == 1
    events = await world.audit_events(world.acme)
    assert len([event for event in events if event["outcome"] == "refused"]) == 1
    await pools.close()


async def test_a_refused_query_leaves_the_connection_to_the_next(
    world: World, pools: Pools, mariadb: MariaDB
) -> None:
    dial = _dial(world.acme, _shop(mariadb, "acme"))
    with pytest.raises(QueryFailed):
        async with pools.lease(world.acme, dial) as connection:
            await connection.execute("SELECT nonsense")
    async with pools.lease(world.acme, dial) as connection:
        assert await _owner(connection) == b"acme"
    assert pools.snapshot().levels["hybrid"].connected == 1
    await pools.close()


async def test_a_result_left_unread_costs_its_connection_and_nothing_else(
    world: World, pools: Pools, mariadb: MariaDB
) -> None:
    dial = _dial(world.acme, _shop(mariadb, "acme"))
    with suppress(QueryTimeout):
        async with pools.lease(world.acme, dial) as connection:
            await connection.execute("SELECT seq AS unread FROM seq_1_to_100000000")
    async with pools.lease(world.acme, dial) as connection:
        assert await _owner(connection) == b"acme"
    await pools.close()
    assert await mariadb.comes_true("AS unread", running=False)
