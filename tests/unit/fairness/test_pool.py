"""Waiting for a turn, in virtual time: granted, refused, given up."""

import asyncio

import pytest

from tenantry.core.errors import FairTurnDeadline, QueueFull
from tenantry.core.ids import TenantId, new_id
from tenantry.fairness.accounts import AccountTerms, Own
from tenantry.fairness.bulkheads import Lane
from tenantry.fairness.capacity import Capacity
from tenantry.fairness.concurrency import Bounds
from tenantry.fairness.pool import Pool, Wish
from tenantry.fairness.records import Journal, LimitChanged, Record, Waited
from tenantry.fairness.turns import State
from tests.unit.pools.virtual_time import LoopClock, run

ACME, GLOBEX = TenantId(new_id()), TenantId(new_id())


def _pool(slots: int = 1, records: list[Record] | None = None, **terms: float) -> Pool:
    journal = Journal(None if records is None else records.append)
    agreed = AccountTerms(Bounds(1, 100, slots), queue=int(terms.get("queue", 4)), wait_s=30.0)
    return Pool("openai", None, agreed, LoopClock(), journal)


def _wish(tenant: TenantId = ACME, lane: Lane = "interactive", until: float = 1e9) -> Wish:
    return Wish(tenant, 1.0, 10.0, lane, until)


@pytest.mark.req("FAIR-1")
def test_a_free_slot_is_taken_without_waiting_and_the_next_call_gets_it_afterwards() -> None:
    async def play() -> None:
        records: list[Record] = []
        pool = _pool(records=records)
        first, second = pool.join(_wish()), pool.join(_wish(GLOBEX))
        await pool.wait(first)
        assert (first.state, second.state) == (State.RUNNING, State.WAITING)
        asyncio.get_running_loop().call_later(7.0, pool.give_back, first, 10.0)
        await pool.wait(second)
        assert second.started - second.since == 7.0
        (record,) = records
        assert isinstance(record, Waited)
        assert (record.tenant, record.waited_s, record.why) == (GLOBEX, 7.0, "slots_taken")

    run(play())


@pytest.mark.req("FAIR-1")
def test_a_turn_that_does_not_come_in_time_is_refused_and_leaves_no_trace() -> None:
    async def play() -> None:
        pool = _pool()
        running = pool.join(_wish())
        loop = asyncio.get_running_loop()
        for wish, after_s in ((_wish(until=5.0), 5.0), (_wish(), 30.0), (_wish(lane="batch"), 300)):
            began = loop.time()
            with pytest.raises(FairTurnDeadline) as refused:
                await pool.wait(pool.join(wish))
            assert loop.time() - began == after_s
            assert refused.value.retry_after_s == 1.0
        pool.give_back(running, 1.0)
        assert pool.is_idle
        place = pool.scheduler.find(ACME)
        assert place is not None
        assert place.tally.late == 3

    run(play())


@pytest.mark.req("FAIR-1")
def test_a_call_whose_turn_cannot_come_in_time_is_refused_at_once() -> None:
    async def play() -> None:
        pool = _pool(queue=64)
        for _ in range(20):
            turn = pool.join(_wish())
            await asyncio.sleep(2.0)
            pool.give_back(turn, 10.0)
        pool.join(_wish())
        for _ in range(15):
            pool.join(_wish())
        began = asyncio.get_running_loop().time()
        with pytest.raises(FairTurnDeadline) as refused:
            pool.join(_wish())
        assert asyncio.get_running_loop().time() == began
        assert refused.value.retry_after_s == 32.0

    run(play())


@pytest.mark.req("FAIR-1")
def test_too_many_waiting_calls_are_refused_and_a_neighbours_are_not() -> None:
    async def play() -> None:
        pool = _pool()
        for _ in range(5):
            pool.join(_wish())
        with pytest.raises(QueueFull) as refused:
            pool.join(_wish())
        assert (refused.value.http_status, refused.value.retry_after_s) == (429, 1.0)
        pool.join(_wish(GLOBEX))

    run(play())


@pytest.mark.req("FAIR-1")
def test_giving_back_twice_frees_one_slot() -> None:
    async def play() -> None:
        pool = _pool(slots=2)
        first, _second = pool.join(_wish()), pool.join(_wish())
        pool.give_back(first, 1.0)
        pool.give_back(first, 1.0)
        pool.give_back(first, None)
        assert pool.scheduler.running == 1

    run(play())


@pytest.mark.req("FAIR-1")
def test_slots_follow_what_the_account_says() -> None:
    async def play() -> None:
        records: list[Record] = []
        pool = _pool(slots=10, records=records, queue=64)
        pool.overloaded()
        assert pool.scheduler.capacity == 8
        turns = [pool.join(_wish(tenant)) for tenant in (ACME, GLOBEX) for _ in range(5)]
        for _ in range(4):
            await asyncio.sleep(1.1)
            pool.answered()
        # The fourth time not all slots were used any more.
        assert pool.scheduler.capacity == 11
        assert len([r for r in records if isinstance(r, LimitChanged)]) == 4
        for turn in turns:
            pool.give_back(turn, 1.0)

    run(play())


@pytest.mark.req("FAIR-2")
def test_an_account_of_a_tenants_own_is_a_pool_of_its_own() -> None:
    capacity = Capacity({"openai": AccountTerms(queue=7)}, LoopClock(), Journal())
    platforms, own = capacity.of(Own("openai")), capacity.of(Own("openai", ACME))
    assert platforms is not own
    assert capacity.of(Own("openai", ACME, 2)) is own  # also with a new credential
    assert capacity.of(Own("openai", GLOBEX)) is not own
    assert (platforms.terms.queue, own.terms.queue) == (7, 64)


@pytest.mark.req("FAIR-2")
def test_pools_of_tenants_own_accounts_are_bounded() -> None:
    capacity = Capacity({}, LoopClock(), Journal(), most=10)
    shared = capacity.of(Own("openai"))
    for _ in range(30):
        capacity.of(Own("openai", TenantId(new_id())))
    assert len(capacity) == 10
    assert capacity.of(Own("openai")) is shared


@pytest.mark.req("FAIR-1")
def test_weights_are_one_unless_set_and_a_record_keeps_the_last_of_each_tenant() -> None:
    records: list[Record] = []
    journal = Journal(records.append)
    capacity = Capacity({}, LoopClock(), journal)
    capacity.reweigh({ACME: 3.0})
    assert (capacity.weight(ACME), capacity.weight(GLOBEX)) == (3.0, 1.0)

    async def play() -> None:
        pool = _pool()
        for _ in range(5):
            pool.join(_wish())
        for _ in range(100):
            with pytest.raises(QueueFull):
                pool.join(_wish())
            journal(Waited(ACME, LoopClock().now(), "openai", "interactive", 0.0, "queue_full"))
        journal(Waited(GLOBEX, LoopClock().now(), "openai", "batch", 1.0, "slots_taken"))

    run(play())
    assert len(records) == 101
    assert (len(list(journal.last(ACME))), len(list(journal.last(GLOBEX)))) == (16, 1)
