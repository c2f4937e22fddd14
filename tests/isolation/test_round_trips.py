"""The tenant context costs no round trip: counted on the wire, not timed (DB-3)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tenantry.core.errors import NotFound
from tenantry.db.pool import RolePool
from tenantry.isolation.transaction import Database
from tests.isolation.wire import Wire, tapped
from tests.worlds import World

_QUERY = b"SELECT member_id FROM tenantry.members WHERE role <> %(role)s"


@asynccontextmanager
async def _line(world: World) -> AsyncIterator[tuple[Wire, RolePool, Database]]:
    """One connection over a counted wire, on which the driver has prepared the query."""
    async with tapped(world.cluster.url(world.database)) as wire:
        pool = RolePool(wire.url, "tenantry_app", world.cluster.secrets.app_password, 1)
        await pool.open()
        door = Database(pool, world.mint, world.cluster.signer, world.clock)
        try:
            for _ in range(4):
                async with door.tenant(world.acme) as tx:
                    await tx.rows(_QUERY, role="")
            wire.reset()
            yield wire, pool, door
        finally:
            await pool.close()


@pytest.mark.req("DB-3")
@pytest.mark.parametrize("statements", [0, 1, 2, 5])
async def test_transaction_takes_as_many_round_trips_as_without_isolation(
    world: World, statements: int
) -> None:
    async with _line(world) as (wire, pool, door):
        async with door.tenant(world.acme) as tx:
            for _ in range(statements):
                assert await tx.rows(_QUERY, role="") == [{"member_id": world.acme.member}]
        isolated = wire.flights
        wire.reset()
        async with pool.connection() as connection:
            await connection.execute(b"BEGIN")
            for _ in range(statements):
                await connection.execute(b"SELECT 1", prepare=False)
            await connection.execute(b"COMMIT")
        assert isolated == wire.flights == statements + 2


@pytest.mark.req("DB-3", "DB-4")
async def test_context_travels_with_begin_before_anything_else(world: World) -> None:
    async with _line(world) as (wire, _pool, door):
        async with door.tenant(world.acme):
            assert wire.flights == 1
            assert wire.sent.startswith(b"Q")  # one simple query
            assert wire.sent[5:].startswith(
                b"BEGIN; SET LOCAL ROLE tenantry_tenant; SET LOCAL tenantry.context = 'k1"
                + world.acme.tenant.hex.encode()
            )
        assert wire.flights == 2


@pytest.mark.req("DB-3")
async def test_error_of_ours_keeps_the_connection(world: World) -> None:
    async with _line(world) as (wire, pool, door):
        for _ in range(3):
            with pytest.raises(NotFound):
                async with door.tenant(world.acme):
                    raise NotFound
        wire.reset()
        async with door.tenant(world.acme):
            assert wire.flights == 1
        assert pool.stats()["connections_num"] == 1  # the one that was made first
