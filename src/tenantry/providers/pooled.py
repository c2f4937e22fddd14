"""Several accounts of the platform under one name: calls are spread over them by weight.

The account whose turn it is comes first; the others follow, in case it cannot answer just now. All
but the last are tried once: another account is closer than a second try.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from tenantry.providers.accounts import Account, account_over
from tenantry.providers.base import ModelRoute, UpstreamAccount
from tenantry.providers.providers_file import PoolEntry
from tenantry.providers.routes import RawRoute
from tenantry.providers.spread import Spread

R = TypeVar("R", ModelRoute, RawRoute)


@dataclass(frozen=True, slots=True)
class _Member(Generic[R]):
    """An account's route: tried once while others follow, patiently as the last."""

    once: R
    patiently: R


class PooledRoute(Generic[R]):
    """A model of a pool: a route for each call."""

    def __init__(self, members: Sequence[tuple[_Member[R], int]]) -> None:
        self._spread: Spread[_Member[R]] = Spread(members)

    def next(self) -> R:
        """Where the next call goes, and where it may follow."""
        order: list[_Member[R]] = self._spread.order()
        routes: list[R] = [member.once for member in order[:-1]]
        routes.append(order[-1].patiently)
        first: R = replace(routes[0], fallbacks=tuple(routes[1:]))
        return first


def pooled(
    pool: PoolEntry,
    accounts: Mapping[str, Account],
    routes: Callable[[Account, UpstreamAccount], list[R]],
) -> dict[str, PooledRoute[R]]:
    """The models of a pool by name, each spread over the accounts that list it."""
    found: dict[str, list[tuple[_Member[R], int]]] = {}
    for account, once, weight in _members(pool, accounts):
        identity = UpstreamAccount(account.entry.name)
        for hasty, patient in zip(routes(once, identity), routes(account, identity), strict=True):
            name = f"{pool.name}/{patient.name.partition('/')[2]}"
            member = _Member(replace(hasty, name=name), replace(patient, name=name))
            found.setdefault(name, []).append((member, weight))
    return {name: PooledRoute(members) for name, members in found.items()}


def _members(
    pool: PoolEntry, accounts: Mapping[str, Account]
) -> list[tuple[Account, Account, int]]:
    """Each account of a pool, the same tried once, and its weight."""
    found = []
    for member in pool.accounts:
        account = accounts[member.account]
        once = account
        if account.upstream is not None:
            entry = account.entry.model_copy(update={"attempts": 1})
            once = account_over(entry, account.upstream)
        found.append((account, once, member.weight))
    return found
