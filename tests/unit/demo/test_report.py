"""The show's text: readable, exact, and harmless to a terminal."""

import pytest

from tenantry.demo import report
from tenantry.demo.interview import Answer, Source

pytestmark = pytest.mark.req("USE-5")


def answer(text: str, *sources: Source) -> Answer:
    return Answer(text, sources, 0, "req", "conversation")


@pytest.mark.parametrize(
    ("picousd", "shown"),
    [
        (0, "$0.000000"),
        (1, "$0.000000000001"),
        (666_660, "$0.00000066666"),
        (2_500_000_000_000, "$2.500000"),
        (12_345_678_901_234, "$12.345678901234"),
        (10_000_000_000_000, "$10.000000"),
    ],
)
def test_money_is_shown_exactly(picousd: int, shown: str) -> None:
    assert report.usd(picousd) == shown


def test_tenants_stand_side_by_side_within_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = report.side_by_side(["One", "Two"], [("answer", "left " * 40, "right " * 40)])
    assert max(map(len, text.splitlines())) <= 100
    assert text.splitlines()[0].split() == ["One", "Two"]
    assert "left left" in text.splitlines()[2]
    assert "right right" in text.splitlines()[2]


@pytest.mark.parametrize(("columns", "width"), [("20", 80), ("120", 120), ("500", 140)])
def test_the_width_is_the_terminals_within_reason(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert report.width() == width


@pytest.mark.parametrize("sign", ["\x1b[2J", "\x07", "\r", "\u202e", "\x00"])
def test_what_a_tenant_wrote_cannot_drive_the_terminal(sign: str) -> None:
    shown = report.side_by_side(["One"], [("answer", f"before{sign}after")])
    assert sign not in shown
    assert "before\N{REPLACEMENT CHARACTER}" in shown
    assert sign not in report.table(["a"], [(f"x{sign}y",)], {})


def test_no_colour_codes_at_all() -> None:
    assert "\x1b" not in report.heading("Title") + report.table(["a"], [("b",)], {})


def test_cells_of_a_table_wrap_where_told() -> None:
    lines = report.table(["a", "b"], [("word " * 8, "x")], {0: 20}).splitlines()
    assert len(lines) == 4
    assert all(len(line) <= 25 for line in lines)


def test_numbers_keep_their_form() -> None:
    assert "0.990" in report.table(["price"], [("0.990",)], {})


def test_the_sql_of_an_answer_is_shown_among_its_sources_only() -> None:
    said = answer(
        "July.\n\n```sql\nSELECT 1\n```\nDone.", Source("query:1", "warehouse", "SELECT 1")
    )
    assert report.answer_text(said) == "July.\nDone."
    assert report.sources_text(said) == "[query:1] warehouse: SELECT 1"


def test_an_answer_without_sources_says_so() -> None:
    assert report.sources_text(answer("I do not know.")) == "none"


def test_a_long_place_is_shortened() -> None:
    [line] = report.sources_text(
        answer("x", Source("query:1", "warehouse", "SELECT " + "column, " * 40))
    ).splitlines()
    assert line.endswith(" …")
    assert len(line) < 90
