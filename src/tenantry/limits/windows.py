"""Time in budgets: calendar windows for quotas, GCRA for rates; integers, no clock of its own.

A quota (hour, day, month) holds in a window of the tenant's own calendar, as bills do. A rate
(second, minute) holds at any time: the generic cell rate algorithm (ITU-T I.371), one number, the
time at which everything admitted so far will have drained away. Bursts up to the limit pass, and
then as much as drains.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from tenantry.core.errors import InvalidRequest

Period = Literal["second", "minute", "hour", "day", "month"]

RATE_US = {"second": 1_000_000, "minute": 60_000_000}
"""Rate windows and how long they are, in microseconds."""
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
"""Start of the one window of a rate."""
NEVER = datetime(9000, 1, 1, tzinfo=UTC)
"""End of the one window of a rate."""
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "month": 2_592_000}
"""About how long a window is, as headers name it; a month as thirty days."""


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` up to, not including, `end`; both in UTC."""

    start: datetime
    end: datetime


def zone(name: str) -> ZoneInfo:
    """The time zone of this name.

    Raises:
        InvalidRequest: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise InvalidRequest("time_zone: a name like Europe/Berlin or UTC is needed.") from error


def window_at(period: Period, now: datetime, of: ZoneInfo) -> Window:
    """The window of `period` that `now` lies in, by the calendar of a time zone.

    Windows of one period follow each other without gaps, also where clocks are changed: a day
    may have 23 or 25 hours.
    """
    if period in RATE_US:
        return Window(ALWAYS, NEVER)
    local = now.astimezone(of)
    if period == "hour":
        start = now - timedelta(
            minutes=local.minute, seconds=local.second, microseconds=local.microsecond
        )
        return Window(start, start + timedelta(hours=1))
    if period == "day":
        following = local.date() + timedelta(days=1)
        return Window(_midnight(local.date(), of), _midnight(following, of))
    first = local.date().replace(day=1)
    return Window(_midnight(first, of), _midnight((first + timedelta(days=32)).replace(day=1), of))


def _midnight(day: date, of: ZoneInfo) -> datetime:
    """The first moment of a local day; where it has no midnight, the moment clocks are put on."""
    return datetime.combine(day, time(), of).astimezone(UTC)


def drained(tat_us: int, now_us: int, limit: int, period_us: int) -> int:
    """How much a rate has room for now.

    Args:
        tat_us: when all that was admitted will have drained, in microseconds.
        now_us: the time now.
        limit: most that a period admits.
        period_us: its length.
    """
    free_us = now_us + period_us - max(tat_us, now_us)
    return max(0, free_us * limit // period_us)


def admitted(tat_us: int, now_us: int, amount: int, limit: int, period_us: int) -> int:
    """The new `tat_us` once `amount` was used; rounded up, so that it never favours the caller."""
    return max(tat_us, now_us) + -(-amount * period_us // limit)


def free_in_us(amount: int, room: int, limit: int, period_us: int) -> int:
    """Microseconds until a rate with `room` left has room for `amount`; a whole period at most."""
    return min(period_us, -(-max(0, amount - room) * period_us // limit))
