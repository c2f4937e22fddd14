"""A call's weight is exact, grows with its use, and adds up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.limits.complexity import NOTHING, Use, WeightBook, Weights

COUNT = st.integers(0, 10**9)
USES = st.builds(Use, COUNT, COUNT, COUNT, st.integers(0, 100), st.integers(0, 10**6), COUNT)


@pytest.mark.req("LIM-1")
def test_the_usual_weights() -> None:
    use = Use(input_tokens=100, cached_tokens=40, output_tokens=10, tool_calls=2, tool_ms=1500)
    # 60 fresh + 40 x 0.1 + 10 x 4 + 2 x 200 + 1.5 s x 50, in thousandths.
    assert Weights().complexity(use) == (60 + 4 + 40 + 400 + 75) * 1000


@pytest.mark.req("LIM-1")
@given(USES, USES)
def test_more_use_never_weighs_less(use: Use, more: Use) -> None:
    both = Use(
        use.input_tokens + more.input_tokens,
        use.cached_tokens,
        use.output_tokens + more.output_tokens,
        use.tool_calls + more.tool_calls,
        use.tool_ms + more.tool_ms,
    )
    assert Weights().complexity(both) >= Weights().complexity(use)


@pytest.mark.req("LIM-1")
@given(st.lists(st.builds(Use, COUNT, st.just(0), COUNT), max_size=20))
def test_the_weight_of_many_calls_is_the_sum_of_their_weights(uses: list[Use]) -> None:
    whole = Use(sum(u.input_tokens for u in uses), 0, sum(u.output_tokens for u in uses))
    assert sum(Weights().complexity(use) for use in uses) == Weights().complexity(whole)


@given(USES)
def test_cached_tokens_beyond_the_prompt_weigh_nothing_more(use: Use) -> None:
    assert Weights().complexity(use) >= 0


def test_a_call_that_was_not_made_counts_nowhere() -> None:
    assert {Weights().amount(unit, NOTHING) for unit in ("tokens", "cost", "requests")} == {0}


def test_a_model_has_its_own_weights_or_its_providers_or_the_usual() -> None:
    own, all_of_them = Weights(output=8000), Weights(output=2000)
    book = WeightBook({("p", "m"): own, ("p", "*"): all_of_them})
    assert book.of("p", "m") == own
    assert book.of("p", "other") == all_of_them
    assert book.of("q", "m") == Weights()
    book.replace({})
    assert book.of("p", "m") == Weights()
