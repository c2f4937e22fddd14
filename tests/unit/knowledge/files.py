"""Files for the tests, made here: PDFs by hand, Word documents, archives that lie."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from email.message import EmailMessage

from docx import Document
from openpyxl import Workbook
from pptx import Presentation
from pypdf import PdfReader, PdfWriter


def pdf(*pages: str) -> bytes:
    """A PDF with one line of text a page, written as PDF 1.4 says."""
    return drawn_pdf(*(f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" for text in pages))


def drawn_pdf(*pages: str) -> bytes:
    """A PDF of pages drawn by these operators, on letter paper."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    for number, drawing in enumerate(pages):
        content = drawing.encode()
        page = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources "
            b"<< /Font << /F1 " + font + b" >> >> /Contents %d 0 R >>" % (4 + 2 * number)
        )
        objects += [page, b"<< /Length %d >>\nstream\n" % len(content) + content + b"\nendstream"]
    return written(objects)


def ruled_table(rows: Sequence[Sequence[str]], top: int) -> str:
    """The operators that draw a table with all its lines; `top` in points from below."""
    width, height = 100, 20
    right, bottom = 72 + width * len(rows[0]), top - height * len(rows)
    drawn = [f"72 {y} m {right} {y} l S" for y in range(bottom, top + 1, height)]
    drawn += [f"{x} {bottom} m {x} {top} l S" for x in range(72, right + 1, width)]
    drawn += [
        f"BT /F1 10 Tf {75 + width * across} {top - 15 - height * down} Td ({cell}) Tj ET"
        for down, row in enumerate(rows)
        for across, cell in enumerate(row)
    ]
    return "\n".join(drawn)


def written(objects: list[bytes]) -> bytes:
    """The PDF of these objects, numbered from 1; the first is the catalogue."""
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        start,
    )
    return bytes(out)


def encrypted_pdf(text: str, user_password: str) -> bytes:
    """A PDF that a password protects; an empty one protects it against printing only."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(text))))
    writer.encrypt(user_password, "the owner's", algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def docx(heading: str, text: str) -> bytes:
    """A Word document with one heading, one paragraph and a table."""
    document = Document()
    document.add_heading(heading, 1)
    document.add_paragraph(text)
    table = document.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "left", "right"
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def repacked(archive: bytes, changes: dict[str, bytes]) -> bytes:
    """The archive with some entries replaced or added."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            if name not in changes:
                new.writestr(name, old.read(name))
        for name, content in changes.items():
            new.writestr(name, content)
    return buffer.getvalue()


def pptx(*slides: tuple[str, str], notes: str = "") -> bytes:
    """A presentation: title and text of each slide; the last has a table, and notes if given."""
    shown = Presentation()
    for title, text in slides:
        slide = shown.slides.add_slide(shown.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = text
    table = slide.shapes.add_table(1, 2, 0, 0, 100, 100).table
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    if notes:
        slide.notes_slide.notes_text_frame.text = notes
    buffer = io.BytesIO()
    shown.save(buffer)
    return buffer.getvalue()


def xlsx(**sheets: list[list[object]]) -> bytes:
    """A workbook: the rows of each sheet."""
    book = Workbook(write_only=True)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def eml(subject: str, text: str, **attached: bytes) -> bytes:
    """A mail; names of attachments are written with `__` for the dot."""
    message = EmailMessage()
    message["From"], message["To"] = "ann@acme.example", "bob@acme.example"
    message["Subject"] = subject
    message.set_content(text)
    for name, content in attached.items():
        message.add_attachment(
            content, maintype="application", subtype="octet-stream",
            filename=name.replace("__", "."),
        )  # fmt: skip
    return message.as_bytes()


def archive(entries: Mapping[str, bytes]) -> bytes:
    """A ZIP of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in entries.items():
            new.writestr(name, content)
    return buffer.getvalue()
