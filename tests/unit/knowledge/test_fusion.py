"""Reciprocal rank fusion: its laws, whatever the ranks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.knowledge.retrieve import RRF_K, fused

RANK = st.none() | st.integers(1, 20_000)
RANKS = st.lists(RANK, max_size=4)


@pytest.mark.req("VEC-3")
@given(RANKS)
def test_fusion_does_not_depend_on_the_order_of_the_lists(ranks: list[int | None]) -> None:
    assert fused(*ranks) == pytest.approx(fused(*reversed(ranks)))


@pytest.mark.req("VEC-3")
@given(RANKS, st.integers(1, 20_000), st.integers(1, 20_000))
def test_a_better_rank_never_scores_less(ranks: list[int | None], one: int, other: int) -> None:
    better, worse = sorted((one, other))
    assert fused(*ranks, better) >= fused(*ranks, worse) > fused(*ranks)


@pytest.mark.req("VEC-3")
@given(RANKS)
def test_a_list_without_the_item_adds_nothing(ranks: list[int | None]) -> None:
    assert fused(*ranks, None) == fused(*ranks)


@pytest.mark.req("VEC-3")
@given(RANKS)
def test_the_score_is_bounded_by_being_first_everywhere(ranks: list[int | None]) -> None:
    assert 0 <= fused(*ranks) <= len(ranks) / (RRF_K + 1) + 1e-12


@pytest.mark.req("VEC-3")
@given(st.integers(1, RRF_K))
def test_being_high_in_both_lists_beats_being_first_in_one(rank: int) -> None:
    assert fused(rank, rank) > fused(1, None)


@pytest.mark.req("VEC-3")
def test_the_constant_is_that_of_the_paper() -> None:
    assert fused(1) == pytest.approx(1 / 61)
    assert fused(1, 2) == pytest.approx(1 / 61 + 1 / 62)
    assert fused() == 0
