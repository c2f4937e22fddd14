"""PDF: page by page; broken, encrypted and empty ones fail with the reason."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry.core.errors import DocumentUnreadable, TooLarge
from tenantry.knowledge.parse import pdf as parsing
from tenantry.knowledge.parse.pdf import parse_pdf
from tests.unit.knowledge.files import drawn_pdf, encrypted_pdf, pdf, ruled_table, written

CATALOGUE = b"<< /Type /Catalog /Pages 2 0 R >>"


@pytest.mark.req("VEC-3")
def test_each_page_is_a_section() -> None:
    document = parse_pdf(pdf("First page", "", "Third page"))
    told = [(s.page, document.text[s.start : s.end].strip()) for s in document.sections]
    assert told == [(1, "First page"), (3, "Third page")]
    assert document.pages == 3


def _line(text: str, y: int) -> str:
    return f"BT /F1 10 Tf 72 {y} Td ({text}) Tj ET"


FEES = ruled_table(
    [("Item", "Fee", "Note"), ("Bag", "25 EUR", "per way"), ("Seat", "12 EUR", "")], 700
)


@pytest.mark.req("VEC-3")
def test_a_table_is_read_row_by_row_where_it_stands() -> None:
    page = "\n".join([_line("Before.", 720), FEES, _line("After.", 600)])
    document = parse_pdf(drawn_pdf("BT /F1 12 Tf 72 720 Td (Cover) Tj ET", page))
    assert [line for line in document.text.splitlines() if line] == [
        "Cover",
        "Before.",
        "Item: Bag; Fee: 25 EUR; Note: per way",
        "Item: Seat; Fee: 12 EUR",
        "After.",
    ]
    assert [section.page for section in document.sections] == [1, 2]


@pytest.mark.req("VEC-3")
def test_two_tables_of_a_page_keep_their_order() -> None:
    second = ruled_table([("Zone", "Days"), ("EU", "3")], 400)
    document = parse_pdf(drawn_pdf("\n".join([second, _line("Between.", 500), FEES])))
    places = [document.text.index(told) for told in ("Fee: 12 EUR", "Between.", "Days: 3")]
    assert places == sorted(places)


@pytest.mark.req("VEC-3")
def test_a_box_around_text_is_no_table() -> None:
    box = ruled_table([("Please note: bags are weighed.",)], 700)
    assert parse_pdf(drawn_pdf(box)).text.strip() == "Please note: bags are weighed."


@pytest.mark.req("VEC-3")
def test_a_drawing_of_many_lines_costs_no_search_for_tables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parsing, "pages_with_tables", lambda *_: pytest.fail("was searched"))
    drawing = "\n".join(f"{n} 0 m {n} 9 l S" for n in range(6000))
    assert "A map" in parse_pdf(drawn_pdf(drawing + "\n" + _line("A map", 700))).text


@pytest.mark.req("VEC-3")
def test_without_the_library_a_table_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pdfplumber", None)
    assert "25 EUR" in parse_pdf(drawn_pdf(FEES)).text


@pytest.mark.req("VEC-3")
def test_a_pdf_that_only_forbids_printing_is_read() -> None:
    assert "readable" in parse_pdf(encrypted_pdf("readable", "")).text


@pytest.mark.req("VEC-3")
def test_a_pdf_under_a_password_is_refused_and_says_so() -> None:
    with pytest.raises(DocumentUnreadable, match="password"):
        parse_pdf(encrypted_pdf("hidden", "open sesame"))


@pytest.mark.req("VEC-3")
def test_an_unknown_encryption_is_refused_and_says_so() -> None:
    key = b"<" + b"00" * 48 + b">"
    crypt = (
        b"<< /Filter /Standard /V 5 /R 6 /Length 256 /P -4 /O " + key + b" /U " + key
        + b" /OE <" + b"00" * 32 + b"> /UE <" + b"00" * 32 + b"> /Perms <" + b"00" * 16 + b">"
        b" /CF << /StdCF << /CFM /AESV3 /Length 32 >> >> /StmF /StdCF /StrF /StdCF >>"
    )  # fmt: skip
    content = pdf("x").replace(b"/Root 1 0 R", b"/Root 1 0 R /ID [<00><00>] /Encrypt " + crypt)
    with pytest.raises(DocumentUnreadable, match=r"encrypted|password"):
        parse_pdf(content)


@pytest.mark.req("VEC-3")
def test_a_scan_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(DocumentUnreadable, match="recognised"):
        parse_pdf(pdf("", ""))


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    "content",
    [
        pdf("x")[:200],
        b"%PDF-1.4\ngarbage",
        b"%PDF-",
        written([CATALOGUE, b"<< /Type /Pages /Kids [2 0 R] /Count 1 >>"]),
        written([CATALOGUE, b"<< /Type /Pages /Kids 7 /Count (many) >>"]),
        written([b"<< /Type /Catalog >>"]),
        written([b"[1 2 3]"]),
    ],
)
def test_a_broken_pdf_is_refused(content: bytes) -> None:
    with pytest.raises(DocumentUnreadable, match="PDF"):
        parse_pdf(content)


@pytest.mark.req("VEC-3")
def test_more_pages_than_allowed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "_MOST_PAGES", 2)
    with pytest.raises(TooLarge, match="2 pages"):
        parse_pdf(pdf("a", "b", "c"))


@pytest.mark.req("VEC-3")
@settings(max_examples=60)
@given(st.data())
def test_a_pdf_with_any_byte_changed_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([pdf("Some text on a page"), drawn_pdf(FEES)])))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(5, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = parse_pdf(bytes(content))
    except DocumentUnreadable:
        return
    assert parsed.text.strip()
