"""Figures for metrics: by level, never by tenant, so that they stay bounded."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from tenantry.pools.base import Level, LevelSnapshot
from tenantry.pools.levels import LEVELS
from tenantry.pools.ownership import Owned

Event = Literal[
    "acquired", "reused", "waited", "exhausted", "connected", "failed",
    "evicted", "expired", "retired", "lost", "discarded", "violated",
]  # fmt: skip
"""What is counted since the start; `base.LevelSnapshot` says what each means."""
Reason = Literal["evicted", "expired", "retired", "lost", "discarded", "violated", "used"]
"""Why a connection is closed; `used` is the end of one that is never kept."""


class Figures:
    """Counts what happens on each level."""

    def __init__(self) -> None:
        self._events: dict[Level, Counter[Event]] = {level: Counter() for level in LEVELS}
        self._wait_s: dict[Level, float] = dict.fromkeys(LEVELS, 0.0)
        self._leased: Counter[Level] = Counter()
        self._connecting: Counter[Level] = Counter()

    def count(self, level: Level, event: Event) -> None:
        """Something happened once more."""
        self._events[level][event] += 1

    def closed(self, level: Level, reason: Reason) -> None:
        """A connection is being closed."""
        if reason != "used":
            self._events[level][reason] += 1

    def waited(self, level: Level, seconds: float) -> None:
        """Somebody queued."""
        self._events[level]["waited"] += 1
        self._wait_s[level] += seconds

    def leased(self, level: Level, change: int) -> None:
        """One more (1) or fewer (-1) is lent."""
        self._leased[level] += change

    def connecting(self, level: Level, change: int) -> None:
        """One more (1) or fewer (-1) is being dialled."""
        self._connecting[level] += change

    def snapshot(self, idle: Iterable[Owned]) -> Mapping[Level, LevelSnapshot]:
        """The figures of every level now."""
        idle_by_level = Counter(owned.level for owned in idle)
        return {
            level: LevelSnapshot(
                idle=idle_by_level[level],
                leased=self._leased[level],
                connecting=self._connecting[level],
                wait_s=self._wait_s[level],
                **{str(event): number for event, number in events.items()},
            )
            for level, events in self._events.items()
        }
