"""Charts are data: built by us, with nothing in them to load or to execute."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.tools.vega import ChartKind, Series, chart

pytestmark = pytest.mark.req("SEC-2")
MONTHS = Series("Month", ["2026-01", "2026-02"])
SALES = Series("Sales", ["10.50", "7"], "decimal")
REGIONS = Series("Region", ["north", "south"])
_ACTIVE = frozenset({"url", "expr", "href", "signal", "transform", "params", "format"})


def keys(value: Any) -> Iterator[str]:
    """Every key of a specification but those of its rows."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            if name != "values":
                yield from keys(inner)
    if isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_a_chart_holds_its_rows_as_numbers_and_texts() -> None:
    spec: Any = chart("line", "Sales by month", MONTHS, SALES, REGIONS)
    assert spec["data"]["values"] == [
        {"x": "2026-01", "y": 10.5, "split": "north"},
        {"x": "2026-02", "y": 7.0, "split": "south"},
    ]
    assert spec["mark"] == {"type": "line", "tooltip": True}
    assert spec["encoding"]["x"] == {"field": "x", "type": "temporal", "title": "Month"}
    assert spec["encoding"]["y"] == {"field": "y", "type": "quantitative", "title": "Sales"}
    assert spec["encoding"]["color"]["title"] == "Region"


def test_a_pie_has_slices_by_colour() -> None:
    spec: Any = chart("pie", "Sales", REGIONS, SALES)
    assert spec["mark"]["type"] == "arc"
    assert spec["encoding"]["theta"]["field"] == "y"
    assert spec["encoding"]["color"]["field"] == "x"


def test_the_order_of_rows_is_the_queries_own() -> None:
    spec: Any = chart("bar", "Sales", REGIONS, SALES)
    assert spec["encoding"]["x"]["sort"] is None


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (Series("n", [1, 2, None]), "quantitative"),
        (Series("n", ["1.5", "-2e3"]), "quantitative"),
        (Series("d", ["2026-01-31", None]), "temporal"),
        (Series("d", ["2026-01-31T10:00:00+00:00"]), "temporal"),
        (Series("d", ["2026", "2027"]), "quantitative"),
        (Series("d", [], "date"), "temporal"),
        (Series("n", [None], "decimal"), "quantitative"),
        (Series("t", ["NaN", "1"]), "nominal"),
        (Series("t", [True, False]), "nominal"),
        (Series("t", ["a", "1"]), "nominal"),
        (Series("t", [None]), "nominal"),
    ],
)
def test_a_column_is_read_as_what_it_is(series: Series, expected: str) -> None:
    assert series.field_type == expected


_KINDS = st.sampled_from(["bar", "line", "area", "point", "pie"])


@given(_KINDS, st.text(max_size=40), st.text(max_size=40), st.lists(st.text(max_size=20)))
def test_no_name_or_value_becomes_a_path_a_link_or_an_expression(
    kind: ChartKind, title: str, column: str, values: list[str]
) -> None:
    spec: Any = chart(
        kind,
        title,
        Series(column, values),
        Series(f"{column}.y[0]", list(range(len(values)))),
        Series(column, values),
    )
    assert not _ACTIVE & set(keys(spec))
    fields = {channel["field"] for channel in spec["encoding"].values()}
    assert fields <= {"x", "y", "split"}
    assert spec["title"] == title
