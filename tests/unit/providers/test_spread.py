"""Weighted turns, exact over every round."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tenantry.providers.spread import Spread

_WEIGHTS = st.lists(st.integers(1, 20), min_size=1, max_size=6)


@given(_WEIGHTS, st.integers(1, 3))
def test_each_leads_exactly_as_often_as_it_weighs(weights: list[int], rounds: int) -> None:
    spread = Spread([(place, weight) for place, weight in enumerate(weights)])
    led = Counter(spread.order()[0] for _ in range(rounds * sum(weights)))
    assert led == {place: rounds * weight for place, weight in enumerate(weights)}


@given(_WEIGHTS)
def test_every_order_has_all_of_them_once(weights: list[int]) -> None:
    spread = Spread([(place, weight) for place, weight in enumerate(weights)])
    for _ in range(sum(weights)):
        assert sorted(spread.order()) == list(range(len(weights)))


def test_turns_are_even_not_in_blocks() -> None:
    spread = Spread([("a", 4), ("b", 2), ("c", 1)])
    assert "".join(spread.order()[0] for _ in range(7)) == "abacaba"
