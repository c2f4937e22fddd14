"""The CSV adds up to the total and cannot run in a spreadsheet."""

import csv
import io
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.metering.export import COLUMNS, csv_lines, usd

EVENT: dict[str, Any] = dict.fromkeys(COLUMNS, 0) | {
    "at": datetime(2026, 5, 1, 14, 30, tzinfo=timezone(timedelta(hours=2))),
    "kind": "settled",
    "model": "gpt-5",
    "cost_picousd": 1_500_000_000_000,
    "assistant_id": None,
    "priced": True,
    "confirmed": False,
}


async def parsed(*events: Mapping[str, Any]) -> list[dict[str, str]]:
    async def source() -> AsyncIterator[Mapping[str, Any]]:
        for event in events:
            yield event

    text = "".join([line async for line in csv_lines(source())])
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.req("COST-5")
@given(st.integers(-(2**63), 2**63))
def test_dollars_are_exact(picousd: int) -> None:
    assert Decimal(usd(picousd)) * 10**12 == picousd


@pytest.mark.req("COST-5")
@pytest.mark.parametrize(
    ("picousd", "text"),
    [(0, "0"), (1, "0.000000000001"), (-(10**12) - 5 * 10**11, "-1.5"), (3 * 10**12, "3")],
)
def test_dollars_are_written_plainly(picousd: int, text: str) -> None:
    assert usd(picousd) == text


@pytest.mark.req("COST-5")
async def test_a_row_shows_time_in_utc_flags_as_words_and_absence_as_nothing() -> None:
    (row,) = await parsed(EVENT)
    assert row["at"] == "2026-05-01T12:30:00+00:00"
    assert (row["priced"], row["confirmed"], row["assistant_id"]) == ("true", "false", "")
    assert row["billed_usd"] == "1.5"
    assert tuple(row) == COLUMNS


@pytest.mark.req("COST-5")
async def test_only_billed_kinds_add_to_the_bill() -> None:
    events = [
        EVENT | {"kind": kind}
        for kind in ("intent", "progress", "settled", "swept", "reconciled", "recorded")
    ]
    billed = [row["billed_usd"] for row in await parsed(*events)]
    assert billed == ["0", "0", "1.5", "1.5", "1.5", "1.5"]


@pytest.mark.req("COST-5", "SEC-2")
@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
async def test_text_from_outside_is_never_a_formula(evil: str) -> None:
    (row,) = await parsed(EVENT | {"model": evil})
    assert row["model"] == f"'{evil}"


@pytest.mark.req("COST-5")
async def test_quotes_commas_and_line_ends_stay_inside_their_cell() -> None:
    (row,) = await parsed(EVENT | {"model": 'a,"b"\nc'})
    assert row["model"] == 'a,"b"\nc'
    assert row["kind"] == "settled"


@pytest.mark.req("COST-5")
async def test_corrections_stay_negative_numbers() -> None:
    (row,) = await parsed(EVENT | {"kind": "reconciled", "input_tokens": -7, "cost_picousd": -1})
    assert (row["input_tokens"], row["billed_usd"]) == ("-7", "-0.000000000001")
