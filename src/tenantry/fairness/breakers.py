"""Every breaker of this process, by tenant and account; bounded, and never shared by two tenants.

A breaker that is closed and was not used for ten minutes is as good as none, and is dropped.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tenantry.core.ids import TenantId
from tenantry.fairness.accounts import Account
from tenantry.fairness.breaker import Breaker, BreakerState

_MOST = 50_000
_IDLE_S = 600.0
_LOOKED_AT = 16
_Key = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class BreakerView:
    """A breaker as it is shown.

    Attributes:
        tenant: whose calls it holds back.
        account: toward which account.
        is_own: whether the account is the tenant's own.
        state: what it stands at.
        cause: why it last opened; `closed` if it did not.
        retry_after_s: seconds until a call may try again.
        failure_rate: part of the last outcomes that were failures.
        slow_rate: part of the last outcomes that were slow answers.
    """

    tenant: TenantId
    account: str
    is_own: bool
    state: BreakerState
    cause: BreakerState
    retry_after_s: float
    failure_rate: float
    slow_rate: float


@dataclass(slots=True)
class _Kept:
    tenant: TenantId
    account: str
    is_own: bool
    breaker: Breaker


class Breakers:
    """Finds and keeps breakers, the least recently used dropped first."""

    def __init__(self, most: int = _MOST, jitter: Callable[[], float] | None = None) -> None:
        self._most = most
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self.jitter = jitter or _jitter

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, tenant: TenantId, account: Account) -> Breaker:
        """The breaker of this tenant toward this account; it knows the credential's version."""
        key = _key(tenant, account)
        kept = self._kept.get(key)
        if kept is None:
            kept = _Kept(tenant, account.name, account.owner is not None, Breaker(account.version))
            self._kept[key] = kept
            if len(self._kept) > self._most:
                self._drop_one()
        else:
            self._kept.move_to_end(key)
            kept.breaker.replaced(account.version)
        return kept.breaker

    def tidy(self, now: float) -> None:
        """Drop what was closed and unused for ten minutes."""
        while self._kept:
            key, kept = next(iter(self._kept.items()))
            if kept.breaker.state != "closed" or now - kept.breaker.last_at < _IDLE_S:
                return
            del self._kept[key]

    def views(self, now: float, tenant: TenantId | None = None) -> Iterator[BreakerView]:
        """Breakers as they are shown: of one tenant, or all that are not simply closed."""
        for kept in self._kept.values():
            if kept.breaker.state == "closed" if tenant is None else kept.tenant != tenant:
                continue
            breaker = kept.breaker
            yield BreakerView(
                kept.tenant, kept.account, kept.is_own, breaker.state, breaker.cause,
                breaker.retry_after_s(now), breaker.failure_rate, breaker.slow_rate,
            )  # fmt: skip

    def _drop_one(self) -> None:
        """Make room: of the least recently used the first that is closed, else the first."""
        oldest = [key for key, _ in zip(self._kept, range(_LOOKED_AT), strict=False)]
        closed = (key for key in oldest if self._kept[key].breaker.state == "closed")
        del self._kept[next(closed, oldest[0])]


def _key(tenant: TenantId, account: Account) -> _Key:
    return tenant.int, 0 if account.owner is None else account.owner.int, account.name


def _jitter() -> float:
    """By chance between 0.8 and 1.2, so that tenants do not all come back in one moment."""
    return 0.8 + secrets.randbelow(401) / 1000
