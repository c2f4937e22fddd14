"""Calendar windows tile time; a rate admits a burst and then what drains, never more."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import InvalidRequest
from tenantry.limits.windows import (
    ALWAYS,
    NEVER,
    Period,
    Window,
    admitted,
    drained,
    free_in_us,
    window_at,
    zone,
)

ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Havana", "Asia/Beirut",
     "Pacific/Apia", "America/Sao_Paulo"]
)  # fmt: skip
MOMENTS = st.integers(1_100_000_000, 2_000_000_000).map(lambda s: datetime.fromtimestamp(s, UTC))
QUOTAS: list[Period] = ["hour", "day", "month"]


@pytest.mark.req("LIM-1")
@given(MOMENTS, ZONES, st.sampled_from(QUOTAS))
def test_windows_of_a_calendar_follow_each_other(now: datetime, name: str, period: Period) -> None:
    of = zone(name)
    window = window_at(period, now, of)
    assert window.start <= now < window.end
    assert window_at(period, window.start, of) == window
    assert window_at(period, window.end - timedelta(microseconds=1), of) == window
    assert window_at(period, window.end, of).start == window.end


@pytest.mark.req("LIM-1")
def test_a_day_is_the_tenants_own_also_when_clocks_are_changed() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    spring = window_at("day", datetime(2026, 3, 29, 12, tzinfo=UTC), berlin)
    assert spring.end - spring.start == timedelta(hours=23)
    autumn = window_at("day", datetime(2026, 10, 25, 12, tzinfo=UTC), berlin)
    assert autumn.end - autumn.start == timedelta(hours=25)
    # No midnight there: clocks went from 23:59:59 to 01:00.
    havana = window_at("day", datetime(2026, 3, 8, 12, tzinfo=UTC), ZoneInfo("America/Havana"))
    assert havana.start == datetime(2026, 3, 8, 5, tzinfo=UTC)
    month = window_at("month", datetime(2026, 12, 31, 23, 30, tzinfo=UTC), berlin)
    assert month.start == datetime(2026, 12, 31, 23, tzinfo=UTC)


def test_a_rate_has_one_window_for_ever() -> None:
    assert window_at("minute", datetime(2026, 1, 1, tzinfo=UTC), zone("UTC")) == Window(
        ALWAYS, NEVER
    )


@pytest.mark.parametrize("name", ["", "Nowhere/Land", "../etc/passwd", "a\0b"])
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="time_zone"):
        zone(name)


@pytest.mark.req("LIM-1")
@given(
    limit=st.integers(1, 10**6),
    period_us=st.sampled_from([1_000_000, 60_000_000]),
    steps=st.lists(st.tuples(st.integers(0, 20_000_000), st.integers(1, 10**6)), max_size=40),
)
def test_a_rate_never_admits_more_than_a_burst_and_what_drained(
    limit: int, period_us: int, steps: list[tuple[int, int]]
) -> None:
    now_us, tat_us = 10**15, 0
    passed: list[tuple[int, int]] = []
    for wait_us, wish in steps:
        now_us += wait_us
        amount = min(wish, drained(tat_us, now_us, limit, period_us))
        tat_us = admitted(tat_us, now_us, amount, limit, period_us)
        passed.append((now_us, amount))
        assert drained(tat_us, now_us, limit, period_us) >= 0
    for first, (since, _) in enumerate(passed):
        total = 0
        for until, amount in passed[first:]:
            total += amount
            assert total * period_us <= limit * (period_us + until - since)


@given(
    st.integers(0, 10**9), st.integers(1, 10**6), st.sampled_from([1_000_000, 60_000_000]),
    st.data(),
)  # fmt: skip
def test_what_a_rate_says_to_wait_is_enough(
    used_us: int, limit: int, period_us: int, data: st.DataObject
) -> None:
    tat_us = min(used_us, period_us)
    amount = data.draw(st.integers(1, limit))
    room = drained(tat_us, 0, limit, period_us)
    wait_us = free_in_us(amount, room, limit, period_us)
    # What was left of a unit when it was rounded down may be a unit's time too early.
    assert drained(tat_us, wait_us + -(-period_us // limit), limit, period_us) >= amount
