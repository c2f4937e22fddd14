"""Time as a dependency: no room calls `time.*` itself, so that tests can move the hands."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What a room may ask of time."""

    def now(self) -> datetime:
        """The wall clock, in UTC, for what is stored or shown."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, for deadlines and durations."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    # The function itself: it is asked twenty times a request.
    monotonic = staticmethod(time.monotonic)


@dataclass
class ManualClock:
    """A clock that stands still until it is told to move; for tests."""

    instant: datetime
    elapsed_s: float = 0.0

    def now(self) -> datetime:
        """The instant it was set to, plus what it was advanced by."""
        return self.instant

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self.elapsed_s

    def advance(self, seconds: float) -> None:
        """Move both hands forward by `seconds`."""
        self.instant += timedelta(seconds=seconds)
        self.elapsed_s += seconds
