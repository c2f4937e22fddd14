"""Whose turn it is, case by case; `tests/properties/test_fairness.py` holds what is always so."""

import pytest

from tenantry.core.ids import TenantId, new_id
from tenantry.fairness.scheduler import Bounds, Scheduler
from tenantry.fairness.turns import Turn

FLOOD, VICTIM, THIRD = (TenantId(new_id()) for _ in range(3))
INTERACTIVE, EMBEDDING, BATCH = range(3)


def _started(scheduler: Scheduler, now: float = 0.0) -> list[Turn]:
    started = []
    while (turn := scheduler.next(now)) is not None:
        started.append(turn)
    return started


def _flood(scheduler: Scheduler, calls: int, cost: float = 100.0, lane: int = 0) -> list[Turn]:
    for _ in range(calls):
        scheduler.offer(FLOOD, cost, 0.0, lane)
    return _started(scheduler)


@pytest.mark.req("FAIR-1")
@pytest.mark.parametrize(
    ("slots", "alone", "beside"), [(1, 1, 1), (4, 4, 3), (16, 15, 12), (64, 60, 56), (100, 93, 87)]
)
def test_a_flood_leaves_the_headroom_free(slots: int, alone: int, beside: int) -> None:
    scheduler = Scheduler(slots)
    running = _flood(scheduler, 500)
    assert len(running) == alone
    scheduler.offer(VICTIM, 100.0, 0.0)
    started = [turn.tenant for turn in _started(scheduler)]
    assert started == ([VICTIM] if slots > 1 and alone < slots else [])
    for turn in running:
        scheduler.settle(turn, 100.0, 0.0)
    while len(_started(scheduler)) > 0:
        pass
    assert scheduler.running - started.count(VICTIM) <= max(1, beside)


@pytest.mark.req("FAIR-1")
def test_where_only_one_tenant_can_be_it_gets_every_slot() -> None:
    assert len(_flood(Scheduler(16, has_headroom=False), 500)) == 16


@pytest.mark.req("FAIR-1")
def test_tenants_take_turns_by_what_they_used_not_by_how_much_they_ask() -> None:
    scheduler = Scheduler(1)
    (first,) = _flood(scheduler, 50)
    for _ in range(3):
        scheduler.offer(VICTIM, 100.0, 0.0)
    order, turn = [], first
    for _ in range(7):
        scheduler.settle(turn, 100.0, 0.0)
        (turn,) = _started(scheduler)
        order.append(turn.tenant)
    assert order[:6].count(VICTIM) == 3
    assert order[6] == FLOOD


@pytest.mark.req("FAIR-1")
def test_twice_the_weight_gets_twice_the_service() -> None:
    scheduler, served = Scheduler(1), {FLOOD: 0, VICTIM: 0}
    for _ in range(90):
        scheduler.offer(FLOOD, 100.0, 0.0, weight=2.0)
        scheduler.offer(VICTIM, 100.0, 0.0)
    for _ in range(90):
        (turn,) = _started(scheduler)
        served[turn.tenant] += 1
        scheduler.settle(turn, 100.0, 0.0)
    assert served == {FLOOD: 60, VICTIM: 30}


@pytest.mark.req("FAIR-1")
def test_what_a_call_did_not_use_is_given_back() -> None:
    scheduler = Scheduler(1)
    scheduler.offer(FLOOD, 1_000.0, 0.0)
    scheduler.offer(VICTIM, 100.0, 0.0)
    scheduler.offer(VICTIM, 100.0, 0.0)
    scheduler.offer(FLOOD, 1_000.0, 0.0)
    order = []
    while (turn := scheduler.next(0.0)) is not None:
        order.append(turn.tenant)
        scheduler.settle(turn, 10.0 if turn.tenant == FLOOD else 100.0, 0.0)
    assert order == [FLOOD, VICTIM, FLOOD, VICTIM]


@pytest.mark.req("FAIR-1")
def test_batch_work_goes_after_interactive_work_that_came_up_to_twenty_seconds_later() -> None:
    scheduler = Scheduler(1)
    (running,) = _flood(scheduler, 1)
    scheduler.offer(FLOOD, 1.0, 1.0, BATCH)
    scheduler.offer(FLOOD, 1.0, 20.0, INTERACTIVE)
    scheduler.offer(FLOOD, 1.0, 22.0, INTERACTIVE)
    order, turn = [], running
    for _ in range(3):
        scheduler.settle(turn, 1.0, 30.0)
        (turn,) = _started(scheduler, 30.0)
        order.append((turn.lane, turn.since))
    assert order == [(INTERACTIVE, 20.0), (BATCH, 1.0), (INTERACTIVE, 22.0)]


@pytest.mark.req("FAIR-2")
def test_a_flood_of_batch_work_takes_no_slot_of_the_headroom_beyond_its_own() -> None:
    scheduler = Scheduler(16)
    scheduler.offer(VICTIM, 1.0, 0.0)  # so that the pool is shared
    assert len(_started(scheduler)) == 1
    for tenant in (FLOOD, THIRD):
        for _ in range(20):
            scheduler.offer(tenant, 1.0, 0.0, BATCH)
    assert len(_started(scheduler)) == 11  # a quarter of sixteen stays free
    scheduler.offer(VICTIM, 1.0, 0.0)
    assert [turn.tenant for turn in _started(scheduler)] == [VICTIM]


@pytest.mark.req("FAIR-1")
def test_queues_are_bounded_in_calls_and_in_what_they_may_use() -> None:
    scheduler = Scheduler(1, Bounds(requests=3, cost=1_000.0))
    _flood(scheduler, 1)
    assert scheduler.has_room(FLOOD, 5_000.0)  # alone, however large
    scheduler.offer(FLOOD, 600.0, 0.0)
    assert not scheduler.has_room(FLOOD, 500.0)
    assert scheduler.has_room(FLOOD, 400.0)
    scheduler.offer(FLOOD, 1.0, 0.0)
    scheduler.offer(FLOOD, 1.0, 0.0)
    assert not scheduler.has_room(FLOOD, 1.0)
    assert scheduler.has_room(VICTIM, 1.0)


@pytest.mark.req("FAIR-1")
def test_tenants_that_want_nothing_are_forgotten_at_last() -> None:
    scheduler = Scheduler(4, Bounds(places=10))
    for _ in range(50):
        turn = scheduler.offer(TenantId(new_id()), 1.0, 0.0)
        assert _started(scheduler) == [turn]
        scheduler.settle(turn, 1.0, 0.0)
    assert (len(list(scheduler.places())), scheduler.active) == (10, 0)


@pytest.mark.req("FAIR-1")
def test_a_changed_weight_holds_for_what_waits_already() -> None:
    scheduler = Scheduler(1)
    (turn,) = _flood(scheduler, 20)
    for _ in range(20):
        scheduler.offer(VICTIM, 100.0, 0.0)
    scheduler.reweigh({VICTIM: 4.0})
    served = []
    for _ in range(20):
        scheduler.settle(turn, 100.0, 0.0)
        (turn,) = _started(scheduler)
        served.append(turn.tenant)
    assert 15 <= served.count(VICTIM) <= 17


@pytest.mark.req("FAIR-1")
def test_a_report_sets_what_a_tenant_got_beside_its_fair_share() -> None:
    scheduler = Scheduler(1)
    for _ in range(10):
        scheduler.offer(FLOOD, 100.0, 0.0)
        scheduler.offer(VICTIM, 300.0, 0.0, weight=3.0)
    for _ in range(8):
        (turn,) = _started(scheduler)
        scheduler.settle(turn, turn.cost, 0.0)
    flood, victim = scheduler.find(FLOOD), scheduler.find(VICTIM)
    assert flood is not None
    assert victim is not None
    assert (flood.served, scheduler.entitled(flood)) == (400.0, 400.0)
    assert (victim.served, scheduler.entitled(victim)) == (1_200.0, 1_200.0)
