"""Prices are whole numbers, versions never change, and what has no price says so."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.metering.price_list import MOST_MICROUSD
from tenantry.metering.prices import PICOUSD_PER_USD, PriceBook, PriceRow, PriceVersion, Rates
from tenantry.metering.usage import MOST_TOKENS, TokenUsage, ToolUsage

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PRICE = st.integers(0, MOST_MICROUSD)
COUNT = st.integers(0, MOST_TOKENS)


@pytest.mark.req("COST-3")
def test_a_million_tokens_cost_their_price_to_the_last_digit() -> None:
    rates = Rates({"input_token": 250_000, "output_token": 2_000_000})
    million = TokenUsage(1_000_000, 0, 1_000_000)
    assert rates.of_tokens(million) == 2 * PICOUSD_PER_USD + PICOUSD_PER_USD // 4


@pytest.mark.req("COST-3")
def test_cached_tokens_have_their_own_price_or_that_of_the_prompt() -> None:
    usage = TokenUsage(input_tokens=100, cached_tokens=60)
    assert Rates({"input_token": 10, "cached_token": 1}).of_tokens(usage) == 40 * 10 + 60
    assert Rates({"input_token": 10}).of_tokens(usage) == 1000


@pytest.mark.req("COST-3")
def test_reasoning_is_part_of_the_output_and_not_paid_twice() -> None:
    usage = TokenUsage(output_tokens=50, reasoning_tokens=30)
    assert Rates({"output_token": 4}).of_tokens(usage) == 200


@pytest.mark.req("COST-3")
@given(PRICE, PRICE, PRICE, COUNT, COUNT, COUNT)
def test_a_cost_is_a_whole_number_that_fits_the_ledger(
    fresh: int, cached: int, output: int, prompt: int, hits: int, produced: int
) -> None:
    rates = Rates({"input_token": fresh, "cached_token": cached, "output_token": output})
    cost = rates.of_tokens(TokenUsage(prompt, min(hits, prompt), produced))
    assert type(cost) is int
    assert 0 <= cost < 2**63


@pytest.mark.req("COST-2")
def test_tools_and_storage_are_priced_by_their_own_units() -> None:
    rates = Rates({"call": 1000, "millisecond": 3, "row": 5, "byte": 7})
    assert rates.of_tool(ToolUsage("t", 10, 20, 30)) == 1000 + 30 + 100 + 210
    assert rates.of_storage(size_bytes=100, rows=2) == 710


def version(number: int, at: datetime, *rows: PriceRow) -> PriceVersion:
    return PriceVersion.of(number, at, rows)


@pytest.mark.req("COST-3")
def test_the_newest_version_in_force_counts() -> None:
    book = PriceBook(
        [
            version(1, NOON - timedelta(days=9)),
            version(2, NOON),
            version(3, NOON + timedelta(days=9)),
        ]
    )
    assert book.version_at(NOON - timedelta(seconds=1)) == 1
    assert book.version_at(NOON) == 2
    assert book.version_at(NOON - timedelta(days=10)) == 0


@pytest.mark.req("COST-3")
def test_a_model_has_its_own_prices_else_the_providers_else_none() -> None:
    book = PriceBook(
        [
            version(
                1,
                NOON,
                PriceRow("local", "*", "input_token", 1),
                PriceRow("local", "*", "output_token", 1),
                PriceRow("local", "big", "input_token", 9),
            )
        ]
    )
    own, fallback = book.rates(1, "local", "big"), book.rates(1, "local", "small")
    assert own is not None
    assert fallback is not None
    # A model with any price of its own takes none of the provider's.
    assert own.of_tokens(TokenUsage(1, 0, 1)) == 9
    assert fallback.of_tokens(TokenUsage(1, 0, 1)) == 2
    assert book.rates(1, "elsewhere", "big") is None
    assert book.rates(2, "local", "big") is None


@pytest.mark.req("COST-3")
def test_an_empty_book_prices_nothing() -> None:
    book = PriceBook()
    assert book.version_at(NOON) == 0
    assert book.rates(0, "openai", "gpt-5") is None


@pytest.mark.req("COST-3")
def test_a_free_model_is_priced_and_not_unpriced() -> None:
    book = PriceBook([version(1, NOON, PriceRow("keyless", "*", "input_token", 0))])
    rates = book.rates(1, "keyless", "keyless")
    assert rates is not None
    assert rates.of_tokens(TokenUsage(10, 0, 10)) == 0
