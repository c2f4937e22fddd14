"""PDF: page by page; broken, encrypted and empty ones fail with the reason."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry.core.errors import DocumentUnreadable, TooLarge
from tenantry.knowledge.parse import pdf as parsing
from tenantry.knowledge.parse.pdf import parse_pdf
from tests.unit.knowledge.files import encrypted_pdf, pdf, written

CATALOGUE = b"<< /Type /Catalog /Pages 2 0 R >>"


@pytest.mark.req("VEC-3")
def test_each_page_is_a_section() -> None:
    document = parse_pdf(pdf("First page", "", "Third page"))
    told = [(s.page, document.text[s.start : s.end].strip()) for s in document.sections]
    assert told == [(1, "First page"), (3, "Third page")]
    assert document.pages == 3


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
    content = bytearray(pdf("Some text on a page"))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(5, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = parse_pdf(bytes(content))
    except DocumentUnreadable:
        return
    assert parsed.text.strip()
