"""Who gets how much, wall by wall: each holds by itself, also where another would hold too."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from tenantry.limits.alerts import crossed
from tenantry.limits.granting import Grant, Request, State, Told, Want, grant, settle
from tenantry.limits.rules import Ask, Budget, CounterKey, Rulebook

NOW = datetime(2026, 3, 8, 12, 59, 58, tzinfo=UTC)
DAY = Budget(uuid4(), "operator", "tenant", "*", "requests", "day", hard_limit=100)
HOUR = Budget(uuid4(), "tenant", "member", "*", "requests", "hour", hard_limit=3)
ASK = Ask(uuid4(), None, None, "openai", "gpt-5-mini")
REPLICA = uuid4()


def state(*budgets: Budget) -> State:
    """A tenant of these budgets that has used nothing."""
    return State(NOW, Rulebook(1, "UTC", budgets))


def asked(
    found: State, lease: UUID, calls: int = 1, pace: int = 0, replica: UUID = REPLICA
) -> Grant:
    """Ask for some calls, under an old lease or one that begins; `pace` is that of the day."""
    wants = [Want(ASK, {"tokens": 0, "cost": 0, "requests": 1})] * calls
    begins = lease not in found.leases
    request = Request(replica, lease, begins, wants=wants, pace={(DAY.id, ""): pace})
    return grant(found, request)


def key_of(found: State, budget: Budget) -> CounterKey:
    """The one counter of a budget."""
    return next(key for key in found.counters if key.budget == budget.id)


@pytest.mark.req("LIM-2")
def test_a_lease_made_by_other_budgets_gets_no_more() -> None:
    found, lease = state(DAY), uuid4()
    assert asked(found, lease).lifetime_s > 0
    found.rulebook = replace(found.rulebook, epoch=2)
    again = asked(found, lease)
    assert (again.lifetime_s, again.slices) == (0.0, ())
    assert asked(found, uuid4()).lifetime_s > 0


@pytest.mark.req("LIM-2")
def test_a_lease_lives_no_longer_than_its_windows_and_gets_no_more_after_them() -> None:
    found, lease = state(DAY, HOUR), uuid4()
    assert asked(found, lease).lifetime_s == 2.0  # the hour ends then
    found.now = NOW + timedelta(seconds=3)
    assert asked(found, lease).lifetime_s == 0.0
    assert asked(found, uuid4()).lifetime_s == 5.0


@pytest.mark.req("LIM-1")
def test_a_call_without_room_in_one_budget_is_granted_nothing_of_another() -> None:
    found, lease = state(DAY, HOUR), uuid4()
    granted = {s.budget.id: s.granted for s in asked(found, lease, calls=5).slices}
    assert granted == {DAY.id: 3, HOUR.id: 3}
    assert found.refused == {key_of(found, HOUR)}


@pytest.mark.req("LIM-1")
def test_what_is_granted_beyond_the_need_is_a_quarter_of_what_is_left_shared_by_replicas() -> None:
    found = state(DAY)
    (first,) = asked(found, uuid4(), pace=1000).slices
    assert first.granted == 25
    (second,) = asked(found, uuid4(), pace=1000, replica=uuid4()).slices
    assert second.granted == 75 // 8


@pytest.mark.req("LIM-1", "LIM-2")
def test_what_is_told_counts_once_never_less_and_only_the_rest_comes_back() -> None:
    found, lease = state(DAY), uuid4()
    asked(found, lease, calls=10)
    key = key_of(found, DAY)
    for spent in (4, 4, 2):  # again, and out of order
        assert settle(found, Told(lease, {key: spent}))
        assert (found.counters[key].used, found.held(key)) == (4, 6)
    settle(found, Told(lease, {key: 5}, kept={key: 2}))
    assert (found.counters[key].used, found.held(key), found.room(key, DAY)) == (5, 2, 93)
    settle(found, Told(lease, {key: 6}, kept={}, ends=True))
    assert (found.counters[key].used, found.held(key), found.ended) == (6, 0, {lease})
    assert not settle(found, Told(lease, {key: 9}))


@pytest.mark.req("LIM-1", "LIM-2")
def test_what_a_lease_holds_counts_after_it_is_over_and_never_passes_the_ceiling() -> None:
    found = state(replace(DAY, hard_limit=5, grace=1))
    asked(found, uuid4(), calls=4)
    found.now = NOW + timedelta(minutes=1)
    (rest,) = asked(found, uuid4(), calls=9).slices
    assert (rest.granted, rest.room) == (2, 0)


@pytest.mark.req("LIM-1", "COST-5")
def test_a_soft_limit_refuses_nothing_and_marks_are_reached_at_their_share() -> None:
    soft = replace(DAY, hard_limit=None, soft_limit=4, alerts=(50,))
    found = state(soft)
    grants = [asked(found, uuid4()) for _ in range(6)]
    assert all(one.slices[0].granted == 1 for one in grants)
    marks = [{alert.mark for alert in one.alerts} for one in grants]
    assert marks == [set(), {"50"}, {"50"}, {"50", "soft"}, {"50", "soft"}, {"50", "soft"}]
    key = key_of(found, soft)
    full = crossed(replace(DAY, alerts=(80, 100, 120)), key, 70, full=True)
    assert {alert.mark for alert in full} == {"80", "100"}
