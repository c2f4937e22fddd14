"""One tenant's breaker toward one account: opens on failures, tries again with a single call.

    closed      calls go out; the last twenty outcomes are watched
    open        the account fails or is slow: nothing goes out, for 1, 2, 4 … 60 seconds
    limited     the account said 429: nothing goes out for as long as it asked
    credential  the account said 401 or 403: nothing goes out for 1, 2, 4 … 10 minutes, or until
                the credential is replaced
    half_open   that time is over: one call goes out as a probe, and decides

A call knows in which period (`generation`) it began: what comes of calls that began before an
opening says nothing about the time after it. A probe whose caller left without a verdict frees
its place at once, and one that is never heard of again does so when its lease ends.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

BreakerState = Literal["closed", "open", "limited", "credential", "half_open"]
Verdict = Literal["answered", "failed", "limited", "credential"]
"""What came of a call. A request that the account found wrong was answered."""

_WATCHED = 20
_LEAST = 5
_FAILURE_RATE = 0.5
_SLOW_RATE = 0.8
_SLOW_TIMES = 4.0
_SLOW_LEAST_S = 5.0
_SMOOTHING = 0.1
_STALE_S = 300.0
_FIRST_S: dict[BreakerState, float] = {"open": 1.0, "limited": 1.0, "credential": 60.0}
_MOST_S: dict[BreakerState, float] = {"open": 60.0, "limited": 60.0, "credential": 600.0}
_LONGEST_ASKED_S = 3600.0
_PROBE_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave for one call: the period it began in, and whether it is the probe."""

    generation: int
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """No leave: why, and after how many seconds it is worth asking again."""

    state: BreakerState
    retry_after_s: float


class Breaker:
    """See the module. Not tied to any clock: each call says what time it is.

    Attributes:
        state: what it stands at; `half_open` only shows once somebody asked.
        cause: why it last opened.
        version: of the credential that it watches.
        last_at: when it last heard of a call.
    """

    __slots__ = (
        "_count", "_failed", "_openings", "_probe_until", "_slow", "_typical_s", "_until",
        "cause", "generation", "last_at", "state", "version",
    )  # fmt: skip

    def __init__(self, version: int = 0) -> None:
        self.state: BreakerState = "closed"
        self.cause: BreakerState = "closed"
        self.version = version
        self.generation = 0
        self.last_at = 0.0
        self._failed = self._slow = self._count = 0  # bits of the last outcomes, newest lowest
        self._typical_s = 0.0
        self._openings = 0
        self._until = 0.0
        self._probe_until = 0.0

    def ask(self, now: float, lease_s: float) -> Permit | Closed:
        """Leave for a call; given, the probe's place is taken for at most `lease_s`."""
        if self.state == "closed":
            return Permit(self.generation)
        if self.state != "half_open":
            if now < self._until:
                return Closed(self.state, self._until - now)
            self.state = "half_open"
            self._probe_until = now
        if now < self._probe_until:
            return Closed(self.cause, min(_PROBE_AGAIN_S, self._probe_until - now))
        self.generation += 1
        self._probe_until = now + lease_s
        return Permit(self.generation, is_probe=True)

    def answered(self, permit: Permit, now: float, first_s: float) -> bool:
        """The account answered after so many seconds; whether the breaker changed by that."""
        if permit.generation != self.generation:
            return False
        if self.state == "half_open":
            self._close()
            return True
        is_slow = self._is_slow(first_s)
        return self._count_in(now, failed=False, slow=is_slow)

    def failed(
        self,
        permit: Permit,
        verdict: Verdict,
        now: float,
        asked_s: float = 0.0,
        jitter: Callable[[], float] = lambda: 1.0,
    ) -> bool:
        """The call failed; whether the breaker changed by that.

        Args:
            permit: the call's.
            verdict: anything but `answered`.
            now: seconds, monotonic.
            asked_s: how long the account asked to be left alone.
            jitter: a factor near 1 for the time it stays open.
        """
        if permit.generation != self.generation:
            return False
        if verdict == "credential" or verdict == "limited":
            self._open(verdict, now, asked_s, jitter())
            return True
        if self.state == "half_open":
            self._open("open", now, asked_s, jitter())
            return True
        if not self._count_in(now, failed=True, slow=False):
            return False
        self._until = now + (self._until - now) * jitter()
        return True

    def left(self, permit: Permit) -> None:
        """The call ended without a verdict: its caller left. A probe's place is free again."""
        if permit.is_probe and permit.generation == self.generation and self.state == "half_open":
            self._probe_until = 0.0

    def replaced(self, version: int) -> bool:
        """The credential was replaced; whether that closed the breaker."""
        if version == self.version:
            return False
        self.version = version
        was_open = self.state != "closed"
        self.generation += 1
        self._close()
        return was_open

    def retry_after_s(self, now: float) -> float:
        """Seconds until a probe may go out; 0 when it may now, or nothing is wrong."""
        if self.state == "closed":
            return 0.0
        until = self._probe_until if self.state == "half_open" else self._until
        return max(0.0, until - now)

    @property
    def failure_rate(self) -> float:
        """Part of the last outcomes that were failures."""
        return self._failed.bit_count() / self._count if self._count else 0.0

    @property
    def slow_rate(self) -> float:
        """Part of the last outcomes that were slow answers."""
        return self._slow.bit_count() / self._count if self._count else 0.0

    def _is_slow(self, first_s: float) -> bool:
        """Whether an answer took far longer to begin than this tenant's do here."""
        typical = self._typical_s
        is_slow = first_s > max(_SLOW_LEAST_S, _SLOW_TIMES * typical) and typical > 0
        if not is_slow:  # what is slow does not become normal by going on
            self._typical_s = first_s if not typical else typical + _SMOOTHING * (first_s - typical)
        return is_slow

    def _count_in(self, now: float, *, failed: bool, slow: bool) -> bool:
        """Add an outcome to the last twenty; whether the breaker opened by it."""
        if now - self.last_at > _STALE_S:
            self._failed = self._slow = self._count = 0
        self.last_at = now
        mask = (1 << _WATCHED) - 1
        self._failed = (self._failed << 1 | failed) & mask
        self._slow = (self._slow << 1 | slow) & mask
        self._count = min(_WATCHED, self._count + 1)
        if self._count < _LEAST:
            return False
        if self.failure_rate < _FAILURE_RATE and self.slow_rate < _SLOW_RATE:
            return False
        self._open("open", now, 0.0, 1.0)
        return True

    def _open(self, cause: BreakerState, now: float, asked_s: float, factor: float) -> None:
        if cause != self.cause:
            self._openings = 0
        self.state = self.cause = cause
        planned = min(_MOST_S[cause], _FIRST_S[cause] * 2.0 ** min(self._openings, 10)) * factor
        self._until = now + min(_LONGEST_ASKED_S, max(planned, asked_s))
        self._openings += 1
        self.generation += 1
        self.last_at = now
        self._failed = self._slow = self._count = 0

    def _close(self) -> None:
        self.state = self.cause = "closed"
        self._openings = 0
        self._failed = self._slow = self._count = 0
