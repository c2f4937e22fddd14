"""Telling a file's format: by its content where that is sure, then its name, then its type."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import UnsupportedMedia
from tenantry.knowledge.formats import MEDIA_TYPES, Format, format_of
from tests.unit.knowledge.files import docx, pdf

DOCX = MEDIA_TYPES["docx"]


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("title", "media_type", "content", "expected"),
    [
        ("a.txt", None, b"x", "text"),
        ("A.MD", None, b"x", "markdown"),
        ("a.markdown", "application/octet-stream", b"x", "markdown"),
        ("a.htm", None, b"x", "html"),
        ("a.tsv", None, b"x", "csv"),
        ("notes", "text/plain; charset=utf-8", b"x", "text"),
        ("notes", "TEXT/HTML", b"x", "html"),
        ("notes", "application/xhtml+xml", b"x", "html"),
        ("notes", "text/x-rst", b"x", "text"),
        ("notes", None, b" <!DOCTYPE HTML><p>x", "html"),
        ("notes", "application/octet-stream", b"<html><p>x", "html"),
        ("a.txt", "text/plain", pdf("x"), "pdf"),
        ("a.pdf", None, b"\r\n junk before " + pdf("x"), "pdf"),
        ("notes", "application/pdf", pdf("x"), "pdf"),
        ("a.docx", None, docx("a", "b"), "docx"),
        ("notes", DOCX, docx("a", "b"), "docx"),
        ("a.pptx", None, b"PK\x03\x04", "pptx"),
        ("a.xlsx", "application/vnd.ms-excel", b"PK\x03\x04", "xlsx"),
        ("a.zip", None, b"PK\x03\x04", "zip"),
        ("a.eml", None, b"Subject: x", "eml"),
        ("a.md", None, b"The mark %PDF- stands in this text.", "markdown"),
    ],
)
def test_formats_are_told(
    title: str, media_type: str | None, content: bytes, expected: Format
) -> None:
    assert format_of(title, media_type, content) == expected


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("title", "media_type", "content", "said"),
    [
        ("a.txt", None, b"PK\x03\x04", "archive"),
        ("a.xlsx", None, b"not one", "not the XLSX"),
        ("a.zip", None, b"not one", "not the ZIP"),
        ("a.doc", None, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "save as DOCX"),
        ("a.docx", None, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "password-protected"),
        ("a.rtf", None, b"{\\rtf1\\ansi", "RTF"),
        ("scan.png", None, b"\x89PNG\r\n", "scan"),
        ("scan.pdf", None, b"\xff\xd8\xff\xe0", "scan"),
        ("a.pdf", None, b"not one", "not the PDF"),
        ("a.docx", None, b"not one", "not the DOCX"),
        ("notes", DOCX, b"not one", "not the DOCX"),
        ("a.exe", None, b"MZ\x90", "Known: .csv"),
        ("notes", None, b"x", "Known: .csv"),
        ("notes", "application/json", b"{}", "Known: .csv"),
    ],
)
def test_what_is_not_read_is_refused_with_the_reason(
    title: str, media_type: str | None, content: bytes, said: str
) -> None:
    with pytest.raises(UnsupportedMedia, match=said):
        format_of(title, media_type, content)


@pytest.mark.req("VEC-3")
@given(st.text(max_size=20), st.none() | st.text(max_size=20), st.binary(max_size=40))
def test_any_upload_has_a_format_or_is_refused(
    title: str, media_type: str | None, content: bytes
) -> None:
    try:
        assert format_of(title, media_type, content) in MEDIA_TYPES
    except UnsupportedMedia:
        return
