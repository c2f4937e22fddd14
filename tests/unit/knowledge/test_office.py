"""XLSX and PPTX: sheets and slides in order, quotable row by row and slide by slide."""

from datetime import date, datetime, time

import pytest

from tenantry.core.errors import DocumentUnreadable, TooLarge
from tenantry.knowledge.parse.sheets import parse_xlsx
from tenantry.knowledge.parse.slides import parse_pptx
from tests.unit.knowledge.files import docx, pptx, repacked, xlsx

ROWS: list[list[object]] = [["fare", "from", "bags"], ["Light", date(2026, 1, 2), 1.0]]


@pytest.mark.req("VEC-3")
def test_each_row_of_a_sheet_is_a_sentence_under_the_sheets_name() -> None:
    parsed = parse_xlsx(xlsx(Fares=ROWS, Empty=[], Routes=[["to"], ["Oslo"], [None], ["Rome"]]))
    assert [section.heading for section in parsed.sections if "Empty" not in section.heading] == [
        "Fares",
        "Routes",
    ]
    assert "fare: Light; from: 2026-01-02; bags: 1\n" in parsed.text
    assert "to: Oslo\n\nto: Rome" in parsed.text


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.5, "1.5"),
        (2.0, "2"),
        (True, "True"),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02 03:04:05"),  # noqa: DTZ001  # Excel's have none
        (time(3, 4), "03:04:00"),
        ("=1+1", None),
    ],
)
def test_a_cell_is_shown_as_people_write_it(value: object, shown: str | None) -> None:
    content = xlsx(Sheet=[["name", "value"], ["kept", value]])
    said = "name: kept" if shown is None else f"name: kept; value: {shown}"
    assert said in parse_xlsx(content).text


@pytest.mark.req("VEC-3")
def test_each_slide_is_a_page_with_its_title_table_and_notes() -> None:
    parsed = parse_pptx(pptx(("Bags", "23 kg."), ("Refunds", "14 days."), notes="Say it slowly."))
    assert parsed.pages == 2
    assert [(s.page, s.heading) for s in parsed.sections] == [(1, "Bags"), (2, "Refunds")]
    second = parsed.text[parsed.sections[1].start :]
    assert [line for line in second.splitlines() if line] == [
        "# Refunds",
        "14 days.",
        "| left | right |",
        "Notes: Say it slowly.",
    ]


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (docx("a", "b"), "Excel"),
        (xlsx(Sheet=[]), "no values"),
        (xlsx(Sheet=[["x"] * 501, ["y"] * 501]), "500 columns"),
        (repacked(xlsx(Sheet=ROWS), {"xl/workbook.xml": b"<broken"}), "Excel"),
        (repacked(xlsx(Sheet=ROWS), {"xl/worksheets/sheet1.xml": b"<broken"}), "Excel"),
    ],
)
def test_what_is_no_workbook_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(DocumentUnreadable, match=said):
        parse_xlsx(content)


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    "content",
    [
        docx("a", "b"),
        repacked(pptx(("a", "b")), {"ppt/presentation.xml": b"<broken"}),
        repacked(pptx(("a", "b")), {"ppt/slides/slide1.xml": b"<x/>"}),
    ],
)
def test_what_is_no_presentation_is_refused(content: bytes) -> None:
    with pytest.raises(DocumentUnreadable, match="PowerPoint"):
        parse_pptx(content)


@pytest.mark.req("VEC-3")
def test_bombs_are_refused_unopened() -> None:
    bomb = {"docProps/x.bin": bytes(30_000_000)}
    with pytest.raises(TooLarge, match="unpacks"):
        parse_xlsx(repacked(xlsx(Sheet=ROWS), bomb))
    with pytest.raises(TooLarge, match="unpacks"):
        parse_pptx(repacked(pptx(("a", "b")), bomb))
