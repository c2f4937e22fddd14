"""Reciprocal rank fusion of what several ways of looking found.

Cormack, Clarke and Büttcher, SIGIR 2009: ranks are fused, not scores, which do not compare between
lists. Two things are ours. A list of words also says how much of the question a passage holds; its
vote counts with the cube of that, so that a passage which shares only "cost" with the question does
not overturn its meaning, while one that holds a whole code stands beside the nearest. And the
constant is 20, not 60, so that the order within the first ten matters more. Both were chosen on
`tests/retrieval_set`, where the paper's form was worse than meaning alone.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from tenantry.vectors.base import Near

RRF_K = 20
_SHARE_POWER = 3


def gain(rank: int, share: float = 1.0) -> float:
    """What a list adds to a passage at this rank (from 1), which holds this share, 0 to 1."""
    return min(1.0, share) ** _SHARE_POWER / (RRF_K + rank)


def best_places(lists: Iterable[Sequence[Near]]) -> list[tuple[UUID, int]]:
    """The places of several lists, best first; equals by distance, then in one order always."""
    gained: dict[tuple[UUID, int], float] = {}
    nearest: dict[tuple[UUID, int], float] = {}
    for found in lists:
        for rank, near in enumerate(found, 1):
            gained[near.place] = gained.get(near.place, 0.0) + gain(rank, near.share)
            nearest[near.place] = near.distance

    def order(place: tuple[UUID, int]) -> tuple[float, float, UUID, int]:
        return -gained[place], nearest[place], *place

    return sorted(gained, key=order)
