"""Spreads calls over the accounts of a pool, by weight and in turn."""

from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Spread(Generic[T]):
    """Gives its members in changing order: smooth weighted round robin.

    Of as many orders in a row as the weights add up to, each member leads exactly as many as it
    weighs, as evenly as can be. Source: the algorithm of nginx's upstream module.
    """

    def __init__(self, members: Sequence[tuple[T, int]]) -> None:
        """With each member's weight, 1 or more."""
        self._members = tuple(members)
        self._total = sum(weight for _, weight in members)
        self._credit = [0] * len(members)

    def order(self) -> list[T]:
        """Every member, the one whose turn it is first; the rest by how soon theirs would be."""
        for place, (_, weight) in enumerate(self._members):
            self._credit[place] += weight
        ranked = sorted(range(len(self._credit)), key=lambda place: -self._credit[place])
        self._credit[ranked[0]] -= self._total
        return [self._members[place][0] for place in ranked]
