"""Idle connections: by owner for reuse, by age for eviction."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

from tenantry.core.ids import TenantId
from tenantry.pools.levels import Owner
from tenantry.pools.ownership import Owned

_Filed = OrderedDict[Owned, None]
_K = TypeVar("_K", bound=Hashable)


class IdleConnections:
    """Open connections that nobody has; each operation takes constant time.

    A connection in a health check keeps its place in the order, but is neither taken nor evicted.
    """

    def __init__(self) -> None:
        # Least recently used first. The value is where it was filed: a tag may be tampered with.
        self._all: OrderedDict[Owned, tuple[Owner, TenantId | None]] = OrderedDict()
        self._yielding: _Filed = OrderedDict()
        self._by_owner: dict[Owner, _Filed] = {}
        self._by_tenant: dict[TenantId, _Filed] = {}

    def __iter__(self) -> Iterator[Owned]:
        """Every idle connection, least recently used first; safe against changes meanwhile."""
        return iter(tuple(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, owned: Owned) -> bool:
        return owned in self._all

    def add(self, owned: Owned) -> None:
        """Keep a connection under its tag, as the most recently used one."""
        self._all[owned] = (owned.tag, owned.tenant)
        self._by_owner.setdefault(owned.tag, OrderedDict())[owned] = None
        if owned.rules.makes_room:
            self._yielding[owned] = None
        if owned.tenant is not None:
            self._by_tenant.setdefault(owned.tenant, OrderedDict())[owned] = None

    def take(self, owner: Owner) -> Owned | None:
        """Remove and give the owner's most recently used connection, if there is one."""
        return self._take_first(reversed(self._by_owner.get(owner, OrderedDict())))

    def evict(self) -> Owned | None:
        """Remove and give the least recently used connection that makes room for others."""
        return self._take_first(self._yielding)

    def evict_of(self, tenant: TenantId) -> Owned | None:
        """Remove and give a tenant's own least recently used connection, of whatever level."""
        return self._take_first(self._by_tenant.get(tenant, OrderedDict()))

    def remove(self, owned: Owned) -> None:
        """Remove a connection that is idle.

        Raises:
            KeyError: it is not.
        """
        owner, tenant = self._all.pop(owned)
        self._yielding.pop(owned, None)
        _drop(self._by_owner, owner, owned)
        if tenant is not None:
            _drop(self._by_tenant, tenant, owned)

    def remove_where(self, condition: Callable[[Owned], bool]) -> list[Owned]:
        """Remove and give those that fulfil the condition and are not being checked."""
        chosen = [owned for owned in self if condition(owned) and not owned.is_checked]
        for owned in chosen:
            self.remove(owned)
        return chosen

    def _take_first(self, candidates: Iterable[Owned]) -> Owned | None:
        chosen = next((owned for owned in candidates if not owned.is_checked), None)
        if chosen is not None:
            self.remove(chosen)
        return chosen


def _drop(files: dict[_K, _Filed], name: _K, owned: Owned) -> None:
    """Take a connection out of a file, and the file away with its last one."""
    del files[name][owned]
    if not files[name]:
        del files[name]
