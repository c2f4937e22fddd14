"""How many calls an account bears at once, found out by what it says (AIMD).

Additive increase while all slots are used and nothing is wrong, multiplicative decrease when the
provider says that it is too much. Not a gradient of latencies: how long a model answers depends on
how much it says.
"""

from dataclasses import dataclass

from tenantry.core.ids import TenantId

_CUT = 0.8
_PAUSE_S = 1.0
"""Between two cuts, and between a cut and the next rise: one overload is told by many calls."""
_HINT_S = 10.0
_MOST_HINTS = 16


@dataclass(frozen=True, slots=True)
class Bounds:
    """Calls at once: at least, at most, and to begin with."""

    least: int = 4
    most: int = 256
    start: int = 64


class AdaptiveLimit:
    """The limit of one account."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._limit = float(bounds.start)
        self._cut_at = self._raised_at = float("-inf")
        self._hints: dict[TenantId, float] = {}

    @property
    def value(self) -> int:
        """Calls at once, now."""
        return int(self._limit)

    def overloaded(self, now: float) -> bool:
        """The account said that it is too much (429, 529); whether the limit fell."""
        if now - self._cut_at < _PAUSE_S:
            return False
        self._cut_at = now
        self._limit = max(float(self._bounds.least), self._limit * _CUT)
        return True

    def troubled(self, tenant: TenantId, now: float, *, is_shared: bool) -> bool:
        """A call failed or timed out; whether the limit fell.

        That says something of the account only when calls of two tenants say it within ten
        seconds, or of the only one that was here lately (`is_shared` is false): one tenant's
        endless prompts slow down nobody else.
        """
        self._hints.pop(tenant, None)
        self._hints[tenant] = now
        while len(self._hints) > _MOST_HINTS or now - next(iter(self._hints.values())) > _HINT_S:
            del self._hints[next(iter(self._hints))]
        return len(self._hints) >= (2 if is_shared else 1) and self.overloaded(now)

    def answered(self, now: float, *, is_full: bool) -> bool:
        """A call was answered; `is_full`: all slots were taken. Whether the limit rose."""
        if not is_full or self._limit >= self._bounds.most:
            return False
        if now - self._cut_at < _PAUSE_S or now - self._raised_at < _PAUSE_S:
            return False
        self._raised_at = now
        self._limit = min(float(self._bounds.most), self._limit + 1)
        return True
