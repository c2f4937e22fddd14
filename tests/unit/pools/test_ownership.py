"""A tampered map, tag or socket is caught before a single row is read, on both ways (POOL-2)."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from tenantry.core.errors import OwnershipViolated, QueryFailed, StoreUnavailable
from tenantry.core.ids import ConnectorId, TenantId, new_id
from tenantry.pools.base import Identity, Level, PoolKey
from tenantry.pools.levels import PrivateOwner
from tenantry.pools.ownership import Owned, OwnershipMap, is_expected
from tenantry.pools.pools import Pools
from tests.unit.pools.scripted_server import (
    Customer,
    Recorded,
    ScriptedConnection,
    context,
    pools_with,
)
from tests.unit.pools.virtual_time import run

Tamper = Callable[[Pools, Owned, Owned], None]


def swap_map(pools: Pools, mine: Owned, theirs: Owned) -> None:
    """The map takes each for the other's."""
    entries = pools._handover._map._entries
    a, b = id(mine.connection), id(theirs.connection)
    entries[a], entries[b] = entries[b], entries[a]


def swap_tag(pools: Pools, mine: Owned, theirs: Owned) -> None:
    """Each carries the other's tag."""
    mine.tag, theirs.tag = theirs.tag, mine.tag


def swap_socket(pools: Pools, mine: Owned, theirs: Owned) -> None:
    """Each speaks over the other's socket: only the server can tell."""
    a, b = mine.connection, theirs.connection
    assert isinstance(a, ScriptedConnection)
    assert isinstance(b, ScriptedConnection)
    a.wire, b.wire = b.wire, a.wire


def swap_connection(pools: Pools, mine: Owned, theirs: Owned) -> None:
    """Each holds the other's connection, under its own tag."""
    mine.connection, theirs.connection = theirs.connection, mine.connection


TAMPERINGS = [
    pytest.param(swap_map, "map", id="map"),
    pytest.param(swap_tag, "tag", id="tag"),
    pytest.param(swap_socket, "server", id="socket"),
    pytest.param(swap_connection, "map", id="connection"),
]
KEPT: tuple[Level, ...] = ("hybrid", "dedicated", "shared")
LEVELS: tuple[Level, ...] = (*KEPT, "per_request")


def owned_by(pools: Pools, customer: Customer) -> Owned:
    tenant = customer.ctx.tenant
    return next(owned for owned in pools._open if owned.dialled_for.tenant == tenant)


def becoming(role: str) -> Callable[[ScriptedConnection], Awaitable[None]]:
    return lambda connection: connection.assume(role)


@pytest.mark.req("POOL-2")
@pytest.mark.parametrize(("tamper", "mismatch"), TAMPERINGS)
@pytest.mark.parametrize("level", KEPT)
def test_an_idle_connection_that_was_tampered_with_is_never_handed_out(
    tamper: Tamper, mismatch: str, level: Level
) -> None:
    async def body() -> None:
        audit = Recorded()
        pools = pools_with(audit=audit)
        acme, globex = Customer.named("acme", level), Customer.named("globex", level)
        for customer in (acme, globex):
            async with pools.lease(customer.ctx, customer.dial()):
                pass
        tamper(pools, owned_by(pools, acme), owned_by(pools, globex))
        with pytest.raises(OwnershipViolated):
            async with pools.lease(acme.ctx, acme.dial()) as connection:
                await connection.rows()
        assert acme.database.reads == globex.database.reads == 0
        (event,) = audit.events
        assert (event.action, event.outcome) == ("pool.ownership_violated", "refused")
        assert event.tenant == acme.ctx.tenant
        assert event.target == str(acme.connector)
        assert event.detail == {"level": level, "moment": "hand_out", "mismatch": mismatch}
        await pools.close()
        assert not acme.database.sessions
        assert not globex.database.sessions
        assert pools.snapshot().levels[level].violated == 1

    run(body())


@pytest.mark.req("POOL-2")
@pytest.mark.parametrize(("tamper", "mismatch"), TAMPERINGS)
@pytest.mark.parametrize("level", LEVELS)
def test_a_connection_that_was_tampered_with_while_lent_is_not_taken_back(
    tamper: Tamper, mismatch: str, level: Level
) -> None:
    async def body() -> None:
        audit = Recorded()
        pools = pools_with(audit=audit)
        acme, globex = Customer.named("acme", level), Customer.named("globex", level)

        async def lend_both() -> None:
            async with pools.lease(globex.ctx, globex.dial()):
                with pytest.raises(OwnershipViolated):
                    async with pools.lease(acme.ctx, acme.dial()):
                        tamper(pools, owned_by(pools, acme), owned_by(pools, globex))

        with pytest.raises(OwnershipViolated):
            await lend_both()
        wrong = {"level": level, "moment": "return", "mismatch": mismatch}
        assert [event.detail for event in audit.events] == [wrong, wrong]
        assert {event.tenant for event in audit.events} == {acme.ctx.tenant, globex.ctx.tenant}
        assert pools.snapshot().levels[level].idle == 0
        await pools.close()
        assert not acme.database.sessions
        assert not globex.database.sessions

    run(body())


@pytest.mark.req("POOL-2")
def test_a_socket_to_a_namesake_on_another_server_is_caught_too() -> None:
    """The same user, the same database: only the server's own name tells them apart."""

    async def body() -> None:
        pools = pools_with()
        acme, globex = Customer.named("prod"), Customer.named("prod")
        globex.database.host = "another"
        for customer in (acme, globex):
            async with pools.lease(customer.ctx, customer.dial()):
                pass
        swap_socket(pools, owned_by(pools, acme), owned_by(pools, globex))
        for customer in (acme, globex):
            with pytest.raises(OwnershipViolated):
                async with pools.lease(customer.ctx, customer.dial()) as connection:
                    await connection.rows()
        assert acme.database.reads == globex.database.reads == 0
        await pools.close()

    run(body())


@pytest.mark.req("POOL-2")
def test_a_fresh_connection_that_reached_somebody_elses_database_is_refused() -> None:
    async def body() -> None:
        audit = Recorded()
        pools = pools_with(audit=audit)
        acme, globex = Customer.named("acme"), Customer.named("globex")
        astray = replace(acme.dial(), connect=globex.database.connect)
        with pytest.raises(OwnershipViolated):
            async with pools.lease(acme.ctx, astray) as connection:
                await connection.rows()
        assert globex.database.reads == 0
        assert [event.detail["mismatch"] for event in audit.events] == ["server"]
        await pools.close()
        assert not globex.database.sessions

    run(body())


@pytest.mark.req("POOL-2")
def test_a_tenant_cannot_ask_with_anothers_key() -> None:
    async def body() -> None:
        audit = Recorded()
        pools = pools_with(audit=audit)
        acme, globex = Customer.named("acme"), Customer.named("globex")
        async with pools.lease(acme.ctx, acme.dial()):
            pass
        with pytest.raises(OwnershipViolated):
            async with pools.lease(globex.ctx, acme.dial()):
                pass
        (event,) = audit.events
        assert event.tenant == globex.ctx.tenant  # in the chain of who asked
        assert event.detail["moment"] == "request"
        assert acme.database.dials == 1
        await pools.close()

    run(body())


@pytest.mark.req("POOL-2")
def test_a_refusal_that_cannot_be_recorded_is_still_a_refusal() -> None:
    async def body() -> None:
        audit = Recorded(failure=StoreUnavailable())
        pools = pools_with(audit=audit)
        acme, globex = Customer.named("acme"), Customer.named("globex")
        astray = replace(acme.dial(), connect=globex.database.connect)
        with pytest.raises(StoreUnavailable):
            async with pools.lease(acme.ctx, astray) as connection:
                await connection.rows()
        assert globex.database.reads == 0
        await pools.close()
        assert not globex.database.sessions

    run(body())


@pytest.mark.req("POOL-2")
def test_the_evidence_is_recorded_even_if_whoever_asked_is_cancelled_meanwhile() -> None:
    class SlowLog(Recorded):
        async def record(self, event: object) -> None:
            await asyncio.sleep(1)
            await super().record(event)  # type: ignore[arg-type]

    async def body() -> None:
        audit = SlowLog()
        pools = pools_with(audit=audit)
        acme, globex = Customer.named("acme"), Customer.named("globex")

        async def attack() -> None:
            async with pools.lease(globex.ctx, acme.dial()):
                pass

        task = asyncio.create_task(attack())
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait([task])
        await pools.close()
        assert task.cancelled()
        assert len(audit.events) == 1

    run(body())


@pytest.mark.req("POOL-1", "POOL-2")
def test_a_shared_connection_is_bound_to_each_tenant_and_unbound_after() -> None:
    async def body() -> None:
        pools = pools_with()
        acme, globex = Customer.named("common", "shared"), Customer.named("common", "shared")
        globex.database = acme.database
        for customer, role in ((acme, "role_acme"), (globex, "role_globex"), (acme, "role_acme")):
            dial = replace(
                customer.dial(),
                expected=Identity(role, "common"),
                assume=becoming(role),
                unassumed=Identity("app", "common"),
            )
            async with pools.lease(customer.ctx, dial) as connection:
                assert await connection.rows("q") == ("common", role, "q")
        assert acme.database.dials == 1
        await pools.close()

    run(body())


@pytest.mark.req("POOL-1", "POOL-2")
def test_a_shared_connection_whose_binding_did_not_take_is_refused() -> None:
    async def nothing(connection: ScriptedConnection) -> None:
        await connection.ping()

    async def body() -> None:
        pools = pools_with()
        acme = Customer.named("common", "shared")
        dial = replace(acme.dial(), expected=Identity("role_acme", "common"), assume=nothing)
        with pytest.raises(OwnershipViolated):
            async with pools.lease(acme.ctx, dial) as connection:
                await connection.rows()
        assert acme.database.reads == 0
        await pools.close()

    run(body())


@pytest.mark.req("POOL-1", "POOL-3")
def test_a_binding_that_the_server_refuses_costs_one_connection_and_tells_why() -> None:
    async def refuse(connection: ScriptedConnection) -> None:
        await connection.fail()

    async def body() -> None:
        pools = pools_with()
        acme, globex = Customer.named("common", "shared"), Customer.named("common", "shared")
        globex.database = acme.database

        async def use() -> None:
            async with pools.lease(acme.ctx, acme.dial()) as connection:
                await connection.rows()

        await asyncio.gather(use(), use())
        with pytest.raises(QueryFailed):
            async with pools.lease(globex.ctx, replace(globex.dial(), assume=refuse)):
                pass
        assert pools.snapshot().levels["shared"].idle == 1
        await pools.close()

    run(body())


@pytest.mark.req("POOL-2")
def test_a_reset_that_leaves_the_tenants_role_on_a_shared_connection_is_caught() -> None:
    async def body() -> None:
        pools = pools_with()
        acme = Customer.named("common", "shared")
        dial = replace(acme.dial(), unassumed=Identity("somebody_else", "common"))
        with pytest.raises(OwnershipViolated):
            async with pools.lease(acme.ctx, dial):
                pass
        assert pools.snapshot().levels["shared"].idle == 0
        await pools.close()

    run(body())


def test_only_an_expected_server_that_is_named_must_match() -> None:
    reported = Identity("u", "d", "10.0.0.1:5432/7")
    assert is_expected(Identity("u", "d"), reported)
    assert is_expected(reported, reported)
    assert not is_expected(Identity("u", "d", "10.0.0.2:5432/7"), reported)
    assert not is_expected(Identity("u", "e"), reported)
    assert not is_expected(Identity("v", "d"), reported)


def test_the_map_knows_nothing_of_a_connection_that_was_closed() -> None:
    key = PoolKey(TenantId(new_id()), ConnectorId(new_id()), 1)
    customer = Customer(context(key.tenant), Customer.named("acme").database)
    connection = run(customer.database.connect())
    owner = PrivateOwner("hybrid", key)
    owned = Owned(connection, owner, "hybrid", key, 0.0, key.tenant)
    ownership, reported = OwnershipMap(), Identity("app", "acme", "s/1")
    ownership.add(owned, reported)
    assert ownership.compare(owned, owner) is None
    assert ownership.compare_server(owned, Identity("app", "acme"), reported) is None
    ownership.remove(owned)
    assert ownership.compare(owned, owner) == "map"
    assert ownership.compare_server(owned, Identity("app", "acme"), reported) == "map"
    assert len(ownership) == 0
