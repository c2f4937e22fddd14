"""All pools of this process, each account its own, and the weights of the tenants.

An account of a tenant's own is a pool of its own, so that it is apart from everything else; those
pools are bounded, the least recently used dropped first once nobody wants anything of them.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping

from tenantry.core.clock import Clock
from tenantry.core.ids import TenantId
from tenantry.fairness.accounts import Account, AccountTerms
from tenantry.fairness.pool import Pool
from tenantry.fairness.records import Journal

_MOST = 20_000
_LOOKED_AT = 16


class Capacity:
    """Finds the pool of an account; knows what each tenant weighs."""

    def __init__(
        self, terms: Mapping[str, AccountTerms], clock: Clock, journal: Journal, most: int = _MOST
    ) -> None:
        """With the terms of the platform's accounts, by name; others have the usual ones."""
        self._terms = dict(terms)
        self._usual = AccountTerms()
        self._clock = clock
        self._journal = journal
        self._most = most
        self._pools: OrderedDict[tuple[int, str], Pool] = OrderedDict()
        self._weights: dict[TenantId, float] = {}

    def __len__(self) -> int:
        return len(self._pools)

    def of(self, account: Account) -> Pool:
        """The pool of an account."""
        key = (0 if account.owner is None else account.owner.int, account.name)
        pool = self._pools.get(key)
        if pool is None:
            terms = self._usual
            if account.owner is None:
                terms = self._terms.get(account.name, self._usual)
            pool = Pool(account.name, account.owner, terms, self._clock, self._journal)
            self._pools[key] = pool
            self._drop()
        elif account.owner is not None:
            self._pools.move_to_end(key)
        return pool

    def pools(self) -> Iterator[Pool]:
        """Every pool that was used lately."""
        return iter(self._pools.values())

    def weight(self, tenant: TenantId) -> float:
        """What a tenant weighs; 1 unless it was set."""
        return self._weights.get(tenant, 1.0)

    def reweigh(self, weights: Mapping[TenantId, float]) -> None:
        """Take up the weights of all tenants that do not weigh 1; they hold at once."""
        if weights == self._weights:
            return
        self._weights = dict(weights)
        for pool in self._pools.values():
            pool.scheduler.reweigh(self._weights)

    def _drop(self) -> None:
        if len(self._pools) <= self._most:
            return
        oldest = [key for key, _ in zip(self._pools, range(_LOOKED_AT), strict=False)]
        unused = (k for k in oldest if self._pools[k].is_idle and self._pools[k].owner is not None)
        if (key := next(unused, None)) is not None:
            del self._pools[key]
