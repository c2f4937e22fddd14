"""Reciprocal rank fusion: its laws, whatever the ranks and shares."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.knowledge.fusion import RRF_K, best_places, gain
from tenantry.vectors.base import Near

RANK, SHARE = st.integers(1, 20_000), st.floats(0.01, 1)
NEAR = st.builds(
    Near, st.floats(0, 2), st.integers(0, 9).map(lambda n: UUID(int=n)), st.just(0), SHARE
)
LISTS = st.lists(st.lists(NEAR, max_size=8, unique_by=lambda near: near.place), max_size=3)


@pytest.mark.req("VEC-3")
@given(RANK, RANK, SHARE)
def test_a_better_rank_never_gains_less(one: int, other: int, share: float) -> None:
    better, worse = sorted((one, other))
    assert gain(better, share) >= gain(worse, share) > 0


@pytest.mark.req("VEC-3")
@given(RANK, SHARE, SHARE)
def test_who_holds_more_of_the_question_never_gains_less(
    rank: int, one: float, other: float
) -> None:
    less, more = sorted((one, other))
    assert gain(rank, more) >= gain(rank, less)
    assert gain(rank, more) <= 1 / (RRF_K + 1)


@pytest.mark.req("VEC-3")
@given(LISTS)
def test_every_place_comes_once_and_the_order_of_the_lists_does_not_matter(
    lists: list[list[Near]],
) -> None:
    alike = [[Near(0.5, n.document_id, n.chunk_no, n.share) for n in found] for found in lists]
    places = best_places(alike)
    assert sorted(places) == sorted({near.place for found in alike for near in found})
    first, last = places[:1], best_places(reversed(alike))[:1]
    assert len(first) == len(last)


@pytest.mark.req("VEC-3")
@given(LISTS.filter(lambda lists: len(lists) > 0))
def test_one_list_alone_keeps_its_order_when_it_holds_all(lists: list[list[Near]]) -> None:
    found = [Near(0.5, near.document_id, near.chunk_no) for near in lists[0]]
    assert best_places([found]) == [near.place for near in found]


@pytest.mark.req("VEC-3")
def test_a_whole_code_stands_beside_the_nearest_and_a_common_word_does_not() -> None:
    near = [Near(0.1, UUID(int=1), 0), Near(0.2, UUID(int=2), 0)]
    code = [Near(0.05, UUID(int=3), 0)]
    assert best_places([near, code])[0] == (UUID(int=3), 0)
    common = [Near(0.05, UUID(int=3), 0, 0.3)]
    assert best_places([near, common]) == [(UUID(int=n), 0) for n in (1, 2, 3)]
