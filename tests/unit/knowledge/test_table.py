"""CSV: each row a paragraph that says which column each value stands in."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import DocumentUnreadable
from tenantry.knowledge.parse.table import parse_csv

CELL = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)


def _rows(content: bytes) -> list[str]:
    return parse_csv(content).text.split("\n\n")[:-1]


@pytest.mark.req("VEC-3")
@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=6))
def test_every_cell_is_told_with_its_column(rows: list[tuple[str, str, str]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([("left", "middle", "right"), *rows])
    expected = [f"left: {a}; middle: {b}; right: {c}" for a, b, c in rows]
    assert _rows(buffer.getvalue().encode()) == expected


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_recognised(delimiter: str) -> None:
    lines = [delimiter.join(row) for row in (("a", "b"), ("1", "2"), ("3", "4"))]
    assert _rows("\n".join(lines).encode()) == ["a: 1; b: 2", "a: 3; b: 4"]


@pytest.mark.req("VEC-3")
def test_cells_past_the_header_are_kept_and_empty_ones_left_out() -> None:
    assert _rows(b"a,,c\n1,2,3,4\n,,5\n,,\n") == ["a: 1; column 2: 2; c: 3; column 4: 4", "c: 5"]


@pytest.mark.req("VEC-3")
def test_a_cell_of_many_lines_stays_in_its_paragraph() -> None:
    assert _rows(b'a,b\n"one\n\ntwo",x\n') == ["a: one two; b: x"]


@pytest.mark.req("VEC-3")
def test_a_single_column_is_a_table_too() -> None:
    assert _rows(b"name\nAnna\nBen\n") == ["name: Anna", "name: Ben"]


@pytest.mark.req("VEC-3")
def test_formulas_are_only_text() -> None:
    assert _rows(b"a,b\n\"=cmd|'/c calc'!A1\",2\n") == ["a: =cmd|'/c calc'!A1; b: 2"]


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n" + b"x," * 600 + b"\n", "500 columns"),
        (b'a,b\n"' + b"x" * 1_100_000 + b'",2\n', "not a valid CSV"),
        (bytes(range(256)) * 40, "not text"),
    ],
)
def test_what_is_no_table_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(DocumentUnreadable, match=said):
        parse_csv(content)


@pytest.mark.req("VEC-3")
@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_refused(content: bytes) -> None:
    try:
        parsed = parse_csv(content)
    except DocumentUnreadable:
        return
    assert len(parsed.sections) <= 1
