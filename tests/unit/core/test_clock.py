"""Clocks: the machine's, and one that tests move."""

from datetime import UTC, datetime

from tenantry.core.clock import ManualClock, SystemClock


def test_the_system_clock_is_in_utc_and_never_runs_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()


def test_a_manual_clock_moves_both_hands_together() -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    clock.advance(90)
    assert clock.now() == datetime(2026, 1, 1, 0, 1, 30, tzinfo=UTC)
    assert clock.monotonic() == 90
