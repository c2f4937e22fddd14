"""DOCX: paragraphs, headings and tables in order; bombs are refused before they are opened."""

import io
import zipfile

import pytest
from docx import Document

from tenantry.core.errors import DocumentUnreadable, TooLarge
from tenantry.knowledge.parse.word import parse_docx
from tests.unit.knowledge.files import docx, repacked


@pytest.mark.req("VEC-3")
def test_blocks_come_in_order_with_their_headings() -> None:
    document = Document()
    document.add_paragraph("Before.")
    document.add_heading("Policy", 1)
    document.add_heading("Bags", 2)
    document.add_paragraph("23 kg.")
    document.add_table(1, 2).rows[0].cells[1].text = "two\nlines"
    document.add_paragraph("After.")
    buffer = io.BytesIO()
    document.save(buffer)
    parsed = parse_docx(buffer.getvalue())
    assert [section.heading for section in parsed.sections] == ["", "Policy > Bags"]
    shown = [line for line in parsed.text.splitlines() if line]
    assert shown == ["Before.", "# Policy", "## Bags", "23 kg.", "|  | two lines |", "After."]


@pytest.mark.req("VEC-3")
def test_a_title_is_a_heading_of_the_first_level() -> None:
    document = Document()
    document.add_heading("The title", 0)
    document.add_paragraph("Text.")
    buffer = io.BytesIO()
    document.save(buffer)
    assert parse_docx(buffer.getvalue()).sections[0].heading == "The title"


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    "changes",
    [
        {"word/media/image.bin": bytes(30_000_000)},
        {"word/document.xml": b"<x>" + b" " * 50_000_000 + b"</x>"},
    ],
    ids=["a huge attachment", "a document of blanks"],
)
def test_a_zip_bomb_is_refused_unopened(changes: dict[str, bytes]) -> None:
    with pytest.raises(TooLarge, match="unpacks"):
        parse_docx(repacked(docx("a", "b"), changes))


@pytest.mark.req("VEC-3")
def test_an_entry_that_lies_about_its_size_is_refused() -> None:
    content = bytearray(repacked(docx("a", "b"), {"word/document.xml": b"<x>" + b" " * 99_999}))
    place = content.rfind(b"PK\x01\x02")  # the last entry of the directory is the changed one
    content[place + 24 : place + 28] = (10).to_bytes(4, "little")
    with pytest.raises(DocumentUnreadable):
        parse_docx(bytes(content))


@pytest.mark.req("VEC-3")
def test_entities_that_grow_without_end_are_refused() -> None:
    names = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol" * 10}">' for n in range(9))
    body = (
        f'<?xml version="1.0"?><!DOCTYPE x [{names}]>'
        '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
        "<w:body><w:p><w:r><w:t>a &e8; b</w:t></w:r></w:p></w:body></w:document>"
    )
    content = repacked(docx("a", "b"), {"word/document.xml": body.encode()})
    with pytest.raises(DocumentUnreadable, match="Word"):
        parse_docx(content)


@pytest.mark.req("VEC-3")
def test_external_entities_are_not_read() -> None:
    body = (
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
        '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
        "<w:body><w:p><w:r><w:t>a &f; b</w:t></w:r></w:p></w:body></w:document>"
    )
    text = parse_docx(repacked(docx("a", "b"), {"word/document.xml": body.encode()})).text
    assert "root" not in text


def _zip(**entries: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04garbage",
        docx("a", "b")[:-200],
        _zip(readme="not a document"),
        repacked(docx("a", "b"), {"word/document.xml": b"<broken"}),
        repacked(docx("a", "b"), {"word/document.xml": b"<x/>"}),
        repacked(docx("a", "b"), {"[Content_Types].xml": b"<x/>"}),
    ],
)
def test_what_is_no_word_document_is_refused(content: bytes) -> None:
    with pytest.raises(DocumentUnreadable, match="Word"):
        parse_docx(content)
