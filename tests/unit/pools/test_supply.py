"""The parts beneath: places, turns, idle connections, figures."""

import asyncio
from itertools import count

import pytest

from tenantry.core.errors import PoolExhausted
from tenantry.core.ids import ConnectorId, TenantId, new_id
from tenantry.pools.base import Dial, Identity, Level, PoolCaps, PoolKey
from tenantry.pools.caps import Places
from tenantry.pools.figures import Figures
from tenantry.pools.idle import IdleConnections
from tenantry.pools.levels import LEVELS, PrivateOwner, SharedOwner, borrower, idle_owner
from tenantry.pools.ownership import Owned
from tenantry.pools.supply import Supply
from tenantry.pools.turns import Turns, Waiter
from tests.unit.pools.scripted_server import Customer, ScriptedConnection, ScriptedDatabase, Wire
from tests.unit.pools.virtual_time import run

_SERIAL = count()
ACME, GLOBEX = TenantId(new_id()), TenantId(new_id())


def owned(tenant: TenantId = ACME, level: Level = "hybrid", number: int = 0) -> Owned:
    key = PoolKey(tenant, ConnectorId(new_id()), number)
    connection = ScriptedConnection(Wire(ScriptedDatabase("db"), next(_SERIAL)))
    return Owned(connection, PrivateOwner(level, key), level, key, 0.0, tenant)


@pytest.mark.req("POOL-1")
def test_every_level_has_its_rules() -> None:
    assert set(LEVELS) == {"hybrid", "dedicated", "shared", "per_request"}
    assert not LEVELS["per_request"].is_kept
    assert [level for level, rules in LEVELS.items() if rules.by_login] == ["shared"]


@pytest.mark.req("POOL-1", "POOL-2")
def test_only_a_shared_connection_has_another_owner_while_idle() -> None:
    acme = Customer.named("acme")
    for level in LEVELS:
        dial = acme.dial(level=level)
        assert borrower(dial) == PrivateOwner(level, dial.key)
        assert (idle_owner(dial) == borrower(dial)) == (level != "shared")
    assert idle_owner(acme.dial(level="shared")) == SharedOwner(("server", "acme", "app"))


@pytest.mark.req("POOL-1")
def test_a_shared_dial_must_say_what_its_login_rests_on() -> None:
    acme = Customer.named("acme")
    key, expected = acme.dial().key, Identity("u", "d")
    with pytest.raises(ValueError, match="login"):
        Dial(key, "shared", expected, acme.database.connect)


def test_what_a_login_rests_on_is_not_printed() -> None:
    assert "app" not in repr(Customer.named("acme").dial().share[:0])
    acme = Customer.named("acme")
    dial = Dial(acme.dial().key, "shared", Identity("u", "d"), acme.database.connect, ("digest9",))
    assert "digest9" not in repr(dial)


@pytest.mark.parametrize(
    "caps", [{"total": 0}, {"per_tenant": 0}, {"idle_s": 0.0}, {"acquire_timeout_s": -1.0}]
)
def test_caps_that_let_nothing_through_are_refused(caps: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        PoolCaps(**caps)  # type: ignore[arg-type]


@pytest.mark.req("POOL-3")
def test_no_place_is_taken_beyond_a_cap() -> None:
    places = Places(total=3, per_tenant=2)
    places.take(ACME)
    places.take(ACME)
    with pytest.raises(OverflowError):
        places.take(ACME)
    places.take(GLOBEX)
    assert places.is_full
    with pytest.raises(OverflowError):
        places.take(GLOBEX)
    places.free(ACME)
    assert (places.taken, places.left_for(ACME)) == (2, 1)


@pytest.mark.req("POOL-3")
def test_a_connection_idle_for_everyone_counts_in_all_but_for_no_tenant() -> None:
    places = Places(total=2, per_tenant=1)
    places.take(ACME)
    places.count_for_nobody(ACME)
    assert places.left_for(ACME) == 1
    assert places.taken == 1
    places.count_for(GLOBEX)
    with pytest.raises(OverflowError):
        places.count_for(GLOBEX)
    places.count_for_nobody(GLOBEX)
    places.free(None)
    assert places.taken == 0


def test_the_most_recent_connection_is_reused_and_the_least_recent_evicted() -> None:
    idle, key = IdleConnections(), owned()
    first, second = key, owned()
    second.tag = first.tag
    for each in (first, second):
        idle.add(each)
    assert idle.take(first.tag) is second
    idle.add(second)
    assert idle.evict() is first
    assert idle.evict() is second
    assert idle.evict() is None
    assert len(idle) == 0


def test_what_makes_no_room_is_evicted_by_its_own_tenant_only() -> None:
    idle, mine = IdleConnections(), owned(ACME, "dedicated")
    idle.add(mine)
    assert idle.evict() is None
    assert idle.evict_of(GLOBEX) is None
    assert idle.evict_of(ACME) is mine


def test_a_connection_in_a_health_check_stays_where_it_is() -> None:
    idle, mine = IdleConnections(), owned()
    idle.add(mine)
    mine.is_checked = True
    assert idle.take(mine.tag) is None
    assert idle.evict() is idle.evict_of(ACME) is None
    assert idle.remove_where(lambda _: True) == []
    assert mine in idle


def test_a_connection_is_filed_where_it_was_put_whatever_its_tag_says_now() -> None:
    idle, mine, theirs = IdleConnections(), owned(), owned(GLOBEX)
    tag = mine.tag
    idle.add(mine)
    mine.tag = theirs.tag
    assert idle.take(theirs.tag) is None
    assert idle.take(tag) is mine
    with pytest.raises(KeyError):
        idle.remove(mine)


async def _waiter(tenant: TenantId) -> Waiter:
    return Waiter(tenant, owned(tenant).tag, asyncio.get_running_loop().create_future())


@pytest.mark.req("POOL-3")
def test_turns_go_round_and_whoever_is_set_aside_costs_nobody_a_turn() -> None:
    async def body() -> None:
        turns = Turns()
        waiters = [await _waiter(tenant) for tenant in (ACME, ACME, GLOBEX)]
        for waiter in waiters:
            turns.join(waiter)
        assert turns.head() is waiters[0]
        turns.served(waiters[0])
        assert turns.head() is waiters[2]
        turns.set_aside(GLOBEX)
        assert turns.head() is waiters[1]
        turns.resume(GLOBEX)
        turns.served(waiters[1])
        assert turns.head() is waiters[2]
        turns.leave(waiters[2])
        turns.leave(waiters[2])  # once more changes nothing
        assert turns.head() is None
        assert len(turns) == 0
        turns.resume(ACME)  # nobody of them waits
        assert list(turns.round()) == []

    run(body())


@pytest.mark.req("POOL-3")
def test_one_whose_turn_had_come_is_before_all_others() -> None:
    async def body() -> None:
        turns = Turns()
        for tenant in (ACME, GLOBEX):
            turns.join(await _waiter(tenant))
        again = await _waiter(GLOBEX)
        turns.join(again, is_first=True)
        assert turns.head() is again
        assert list(turns.round()) == [(GLOBEX, 2), (ACME, 1)]

    run(body())


@pytest.mark.req("POOL-3")
def test_a_waiter_that_was_cancelled_but_has_not_run_since_is_passed_over() -> None:
    async def body() -> None:
        turns = Turns()
        gone, there = await _waiter(ACME), await _waiter(GLOBEX)
        turns.join(gone)
        turns.join(there)
        gone.granted.cancel()
        assert turns.head() is there
        mine = owned(ACME, "dedicated")
        mine.tag = gone.owner
        turns.join(gone)
        assert turns.fitting(mine) is None

    run(body())


@pytest.mark.req("POOL-3")
def test_a_place_granted_in_the_instant_of_a_cancellation_goes_to_the_next() -> None:
    async def body() -> None:
        supply, initech = Supply(1, 1, lambda _: None), TenantId(new_id())
        assert supply.take_now(ACME, owned().tag) == (True, None)
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(supply.wait(GLOBEX, owned().tag, loop.time() + 9))
        await asyncio.sleep(0)
        second = asyncio.create_task(supply.wait(initech, owned().tag, loop.time() + 9))
        await asyncio.sleep(0)
        supply.free(ACME)  # it is the first one's now, who does not know yet
        assert (supply.taken, supply.waiting) == (1, 1)
        first.cancel()
        assert await second is None
        assert first.cancelled()
        supply.free(initech)
        assert (supply.taken, supply.waiting) == (0, 0)

    run(body())


@pytest.mark.req("POOL-3")
@pytest.mark.parametrize("is_retired", [False, True])
def test_a_connection_granted_in_the_instant_of_a_cancellation_is_kept_unless_retired(
    is_retired: bool,
) -> None:
    async def body() -> None:
        closing: list[Owned] = []
        supply, mine = Supply(1, 1, closing.append), owned(ACME, "dedicated")
        supply.take_now(ACME, mine.tag)
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(supply.wait(ACME, mine.tag, loop.time() + 9))
        await asyncio.sleep(0)
        supply.shelve(mine)
        mine.is_retired = is_retired
        waiting.cancel()
        await asyncio.wait([waiting])
        assert (mine in supply.idle) == (not is_retired)
        assert closing == ([mine] if is_retired else [])

    run(body())


def test_what_comes_back_after_the_end_is_closed() -> None:
    async def body() -> None:
        closing: list[Owned] = []
        supply, mine = Supply(1, 1, closing.append), owned()
        supply.take_now(ACME, mine.tag)
        supply.close()
        supply.shelve(mine)
        assert closing == [mine]
        supply.evicted(mine)
        assert supply.taken == 0

    run(body())


def test_waiting_ends_when_the_pools_do() -> None:
    async def body() -> None:
        supply = Supply(1, 1, lambda _: None)
        supply.take_now(ACME, owned().tag)
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(supply.wait(GLOBEX, owned().tag, loop.time() + 9))
        await asyncio.sleep(0)
        supply.close()
        with pytest.raises(PoolExhausted):
            await waiting
        with pytest.raises(PoolExhausted):
            supply.take_now(ACME, owned().tag)

    run(body())


def test_figures_are_kept_by_level_and_stay_bounded() -> None:
    figures = Figures()
    for level in LEVELS:
        figures.count(level, "acquired")
        figures.closed(level, "used")  # a connection at its regular end is no event
        figures.waited(level, 0.5)
    snapshot = figures.snapshot([owned(), owned(level="dedicated")])
    assert set(snapshot) == set(LEVELS)
    assert [level.idle for level in snapshot.values()] == [1, 1, 0, 0]
    assert all((level.acquired, level.waited, level.wait_s) == (1, 1, 0.5)
               for level in snapshot.values())  # fmt: skip
