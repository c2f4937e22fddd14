"""The shipped prices are sound, and a list that is not is refused with the place named."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tenantry.core.errors import InvalidRequest
from tenantry.metering.price_list import (
    MOST_MICROUSD,
    SHIPPED,
    parse_price_list,
    shipped_price_list,
)
from tenantry.metering.prices import PriceRow, PriceVersion
from tenantry.metering.usage import TokenUsage

WELL_KNOWN = [
    ("openai", "gpt-5-mini"),
    ("openai", "gpt-4o"),
    ("openai", "text-embedding-3-small"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-flash"),
    ("google", "gemini-embedding-001"),
]


def text(**changes: Any) -> str:
    content: dict[str, Any] = {
        "name": "Ours",
        "as_of": "2026-02-01",
        "note": "negotiated",
        "microusd_per_million": {"openai": {"gpt-5": {"input_token": 5}}},
    }
    return json.dumps(content | changes)


@pytest.mark.req("COST-3")
def test_a_list_is_read_with_its_name_and_date() -> None:
    prices = parse_price_list(text())
    assert prices.rows == (PriceRow("openai", "gpt-5", "input_token", 5),)
    assert prices.effective_at == datetime(2026, 2, 1, tzinfo=UTC)
    assert prices.title == "Ours 2026-02-01"


@pytest.mark.req("COST-3")
@pytest.mark.parametrize("price", [0.25, -1, "5", True, None, MOST_MICROUSD + 1, 1e6])
def test_a_price_that_is_not_a_whole_number_in_range_is_refused_with_its_place(
    price: object,
) -> None:
    wrong = {"openai": {"gpt-5": {"input_token": price}}}
    with pytest.raises(InvalidRequest, match="openai/gpt-5 input_token"):
        parse_price_list(text(microusd_per_million=wrong))


@pytest.mark.req("COST-3")
@pytest.mark.parametrize(
    "bad",
    [
        "",
        "[]",
        "{}",
        "not json",
        text(as_of="soon"),
        text(name=""),
        text(note=3),
        text(microusd_per_million={}),
        text(microusd_per_million={"openai": {"gpt-5": {"smiles": 1}}}),
        text(microusd_per_million={"": {"gpt-5": {"row": 1}}}),
        text(microusd_per_million={"openai": {"": {"row": 1}}}),
        text(microusd_per_million={"openai": 3}),
    ],
)
def test_what_is_no_price_list_is_refused(bad: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_price_list(bad)


@pytest.mark.req("COST-3")
@pytest.mark.parametrize(("provider", "model"), WELL_KNOWN)
def test_the_shipped_list_prices_well_known_models(provider: str, model: str) -> None:
    prices = shipped_price_list()
    version = PriceVersion.of(1, prices.effective_at, prices.rows)
    assert version.rates[provider, model].of_tokens(TokenUsage(1000, 0, 1000)) > 0


@pytest.mark.req("COST-3")
def test_the_shipped_list_never_charges_more_for_cached_tokens() -> None:
    prices = shipped_price_list()
    for rates in PriceVersion.of(1, prices.effective_at, prices.rows).rates.values():
        fresh = rates.by_unit.get("input_token", 0)
        assert rates.by_unit.get("cached_token", fresh) <= fresh


@pytest.mark.req("COST-3", "USE-5")
def test_the_keyless_answerer_is_free_and_our_own_work_is_priced() -> None:
    prices = shipped_price_list()
    rates = PriceVersion.of(1, prices.effective_at, prices.rows).rates
    assert rates["keyless", "*"].of_tokens(TokenUsage(10**6, 0, 10**6)) == 0
    assert rates["embedded", "*"].of_tokens(TokenUsage(1)) > 0
    assert rates["tenantry", "*"].by_unit["millisecond"] > 0
    assert rates["storage", "*"].by_unit["byte"] > 0


@pytest.mark.req("COST-3")
def test_the_shipped_list_says_when_it_was_taken() -> None:
    prices = shipped_price_list()
    assert prices.name == SHIPPED
    assert prices.effective_at.date().isoformat() in prices.title
    assert "docs/metering.md" in prices.note
