"""DOCX: paragraphs and tables in order, headings as sections; bombs are refused unopened."""

import io
import zipfile

from docx import Document
from docx.oxml.ns import qn
from docx.table import Table
from docx.text.paragraph import Paragraph
from lxml import etree

from tenantry.core.errors import DocumentUnreadable, TooLarge
from tenantry.knowledge.parse.parsed import ParsedDocument, TextBuilder

_MOST_UNPACKED = 200 * 1024 * 1024
_MOST_RATIO = 200


def parse_docx(content: bytes) -> ParsedDocument:
    """A Word document: paragraphs and tables in order, headings as sections.

    Raises:
        DocumentUnreadable: it is no Word document.
        TooLarge: it unpacks to more than a document can be.
    """
    _refuse_bomb(content)
    try:
        document = Document(io.BytesIO(content))
        builder = TextBuilder()
        for block in document.element.body.iterchildren():
            if block.tag == qn("w:p"):
                _paragraph(Paragraph(block, document), builder)
            elif block.tag == qn("w:tbl"):
                for row in Table(block, document).rows:
                    builder.add(" | ".join(cell.text.strip() for cell in row.cells) + "\n")
    except (KeyError, ValueError, zipfile.BadZipFile, etree.XMLSyntaxError) as error:
        raise DocumentUnreadable("The file is not a readable Word document.") from error
    return builder.build(document.core_properties.title or "")


def _paragraph(paragraph: Paragraph, builder: TextBuilder) -> None:
    style = paragraph.style.name if paragraph.style and paragraph.style.name else ""
    kind, _, level = style.partition(" ")
    if kind in {"Heading", "Title"} and paragraph.text.strip():
        builder.heading(int(level) if level.isdigit() else 1, paragraph.text)
    builder.add(paragraph.text + "\n")


def _refuse_bomb(content: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            sizes = [(entry.file_size, entry.compress_size) for entry in archive.infolist()]
    except zipfile.BadZipFile as error:
        raise DocumentUnreadable("The file is not a readable Word document.") from error
    unpacked = sum(size for size, _ in sizes)
    packed = sum(size for _, size in sizes) or 1
    if unpacked > _MOST_UNPACKED or (unpacked > 1_000_000 and unpacked / packed > _MOST_RATIO):
        raise TooLarge("The document unpacks to far more than its own size.")
