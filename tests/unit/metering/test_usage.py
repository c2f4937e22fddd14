"""Counts are foreign input until they are plausible."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.metering.usage import MOST_TOKENS, TokenUsage

ANY_COUNT = st.integers(-(2**70), 2**70)
ANY_USAGE = st.builds(TokenUsage, ANY_COUNT, ANY_COUNT, ANY_COUNT, ANY_COUNT, st.booleans())
COUNT = st.integers(0, MOST_TOKENS)


def possible(usage: TokenUsage) -> bool:
    return (
        0 <= usage.cached_tokens <= usage.input_tokens <= MOST_TOKENS
        and 0 <= usage.reasoning_tokens <= usage.output_tokens <= MOST_TOKENS
    )


@pytest.mark.req("COST-1")
@given(ANY_USAGE)
def test_whatever_a_provider_reports_becomes_figures_that_can_be_true(usage: TokenUsage) -> None:
    mended = usage.plausible()
    assert possible(mended)
    assert mended.plausible() == mended


@pytest.mark.req("COST-1")
@given(ANY_USAGE)
def test_figures_are_kept_exactly_when_they_can_be_true_and_marked_when_not(
    usage: TokenUsage,
) -> None:
    if possible(usage):
        assert usage.plausible() == usage
    else:
        assert usage.plausible().estimated


@pytest.mark.req("COST-1")
@given(ANY_USAGE, COUNT, COUNT)
def test_an_own_count_is_never_above_the_bound_and_never_confirmed(
    usage: TokenUsage, prompt: int, output: int
) -> None:
    counted = usage.bounded(TokenUsage(prompt, 0, output))
    assert possible(counted)
    assert counted.input_tokens <= prompt
    assert counted.output_tokens <= output
    assert counted.estimated


@pytest.mark.req("COST-1")
def test_a_prompt_that_was_not_counted_is_taken_at_its_bound() -> None:
    bound = TokenUsage(90, 0, 100)
    assert TokenUsage(output_tokens=7).bounded(bound) == TokenUsage(90, 0, 7, 0, estimated=True)


@pytest.mark.req("COST-1")
def test_usage_adds_up_and_one_estimate_makes_the_sum_an_estimate() -> None:
    total = TokenUsage(1, 2, 3, 4) + TokenUsage(10, 20, 30, 40, estimated=True)
    assert total == TokenUsage(11, 22, 33, 44, estimated=True)
