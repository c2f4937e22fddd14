"""Mails and archives: what is in them is read as itself and quoted by its name."""

from email.message import EmailMessage

import pytest

from tenantry.core.errors import DocumentUnreadable, TooLarge
from tenantry.knowledge.parse.archive import parse_zip
from tenantry.knowledge.parse.mail import parse_eml
from tests.unit.knowledge.files import archive, docx, eml, encrypted_pdf, pdf, repacked


@pytest.mark.req("VEC-3")
def test_the_documents_of_an_archive_are_quoted_by_path_page_and_heading() -> None:
    parsed = parse_zip(
        archive({"hr/leave.md": b"# Leave\n\n30 days.\n", "bags.pdf": pdf("Page one", "Page two")})
    )
    found = {s.heading: parsed.text[s.start : s.end] for s in parsed.sections}
    assert list(found) == ["hr/leave.md > Leave", "bags.pdf > page 1", "bags.pdf > page 2"]
    assert "30 days." in found["hr/leave.md > Leave"]
    assert "Page two" in found["bags.pdf > page 2"]
    assert parsed.pages == 1


@pytest.mark.req("VEC-3")
def test_what_is_not_read_is_named_and_what_systems_leave_behind_is_not() -> None:
    parsed = parse_zip(
        archive(
            {
                "a.txt": b"text",
                "logo.png": b"\x89PNG\r\n",
                "inner.zip": archive({"b.txt": b"deep"}),
                "__MACOSX/a.txt": b"junk",
                ".DS_Store": b"junk",
            }
        )
    )
    last = parsed.sections[-1]
    assert last.heading == "Not read"
    assert parsed.text[last.start : last.end].split() == [
        "#", "Not", "read", "-", "logo.png", "-", "inner.zip",
    ]  # fmt: skip
    assert "deep" not in parsed.text
    assert "junk" not in parsed.text


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"PK\x03\x04garbage", DocumentUnreadable, "not a readable ZIP"),
        (archive({}), DocumentUnreadable, "no document"),
        (archive({"a.png": b"\x89PNG"}), DocumentUnreadable, "no document"),
        (archive({"a.pdf": b"%PDF-"}), DocumentUnreadable, "a.pdf: The PDF is broken"),
        (archive({"x/b.pdf": encrypted_pdf("a", "pw")}), DocumentUnreadable, "b.pdf: .*password"),
        (archive({"a.txt": bytes(30_000_000)}), TooLarge, "unpacks"),
        (archive({f"{n}.txt": b"x" for n in range(1001)}), TooLarge, "1000 files"),
        (
            archive({"a.docx": repacked(docx("a", "b"), {"x": bytes(30_000_000)})}),
            TooLarge,
            "a.docx: .*unpacks",
        ),
    ],
)
def test_a_broken_archive_is_refused_and_says_which_part(
    content: bytes, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        parse_zip(content)


@pytest.mark.req("VEC-3")
def test_an_encrypted_archive_is_refused() -> None:
    content = bytearray(archive({"a.txt": b"text"}))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag of both headers
        content[content.find(mark) + place] |= 1
    with pytest.raises(DocumentUnreadable, match="password"):
        parse_zip(bytes(content))


@pytest.mark.req("VEC-3")
def test_a_mail_is_its_headers_its_text_and_its_attachments() -> None:
    parsed = parse_eml(
        eml("The offer", "Dear Bob.\n", offer__pdf=pdf("12 EUR", "in May"), photo__png=b"\x89PNG")
    )
    found = {s.heading: parsed.text[s.start : s.end] for s in parsed.sections}
    assert list(found) == [
        "The offer",
        "offer.pdf > page 1",
        "offer.pdf > page 2",
        "Not read",
    ]
    assert "From: ann@acme.example\nTo: bob@acme.example\nSubject: The offer" in found["The offer"]
    assert "Dear Bob." in found["The offer"]
    assert "photo.png" in found["Not read"]


@pytest.mark.req("VEC-3")
def test_the_plain_text_of_a_mail_is_preferred_and_html_is_read_where_there_is_no_other() -> None:
    both = EmailMessage()
    both["Subject"] = "Both"
    both.set_content("plain words")
    both.add_alternative("<p>marked words", subtype="html")
    assert "marked" not in parse_eml(both.as_bytes()).text
    html = EmailMessage()
    html["Subject"] = "One"
    html.set_content("<script>no</script><p>marked words", subtype="html")
    text = parse_eml(html.as_bytes()).text
    assert "marked words" in text
    assert "no" not in text.split()


@pytest.mark.req("VEC-3")
def test_a_forwarded_mail_is_read_too() -> None:
    inner, outer = EmailMessage(), EmailMessage()
    inner["Subject"], outer["Subject"] = "Inner", "Outer"
    inner.set_content("the first words")
    outer.set_content("see below")
    outer.add_attachment(inner)
    parsed = parse_eml(outer.as_bytes())
    assert [section.heading for section in parsed.sections] == ["Outer", "Inner"]
    assert "the first words" in parsed.text


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"just words", "not a mail"),
        (b"\0" * 100, "not a mail"),
        (eml("x", "y", bad__pdf=b"%PDF-"), "bad.pdf: The PDF is broken"),
    ],
)
def test_what_is_no_mail_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(DocumentUnreadable, match=said):
        parse_eml(content)
