"""DOCX: paragraphs and tables in order, headings as sections; bombs are refused unopened."""

import io
import zipfile

from docx import Document
from docx.oxml.ns import qn
from docx.table import Table
from docx.text.paragraph import Paragraph
from lxml import etree

from tenantry.core.errors import DocumentUnreadable
from tenantry.knowledge.parse.parsed import ParsedDocument, TextBuilder
from tenantry.knowledge.parse.zipped import unzipped

_BROKEN = "The file is not a readable Word document."


def parse_docx(content: bytes) -> ParsedDocument:
    """A Word document: paragraphs and tables in order, headings as sections.

    Raises:
        DocumentUnreadable: it is no Word document.
        TooLarge: it unpacks to more than a document can be.
    """
    unzipped(content, _BROKEN).close()
    builder = TextBuilder()
    try:
        # No entity is resolved: neither a file's content nor an XML bomb gets in.
        document = Document(io.BytesIO(content))
        for block in document.element.body.iterchildren():
            if block.tag == qn("w:p"):
                _paragraph(Paragraph(block, document), builder)
            elif block.tag == qn("w:tbl"):
                _table(Table(block, document), builder)
    except (LookupError, ValueError, AttributeError, zipfile.BadZipFile, etree.LxmlError) as error:
        raise DocumentUnreadable(_BROKEN) from error
    return builder.build()


def _paragraph(paragraph: Paragraph, builder: TextBuilder) -> None:
    text = paragraph.text
    style = paragraph.style.name if paragraph.style and paragraph.style.name else ""
    kind, _, level = style.partition(" ")
    if kind in {"Heading", "Title"} and text.strip():
        builder.heading(int(level) if level.isdigit() else 1, text)
    else:
        builder.add(text + "\n\n" if text.strip() else "")


def _table(table: Table, builder: TextBuilder) -> None:
    for row in table.rows:
        cells = " | ".join(" ".join(cell.text.split()) for cell in row.cells)
        builder.add(f"| {cells} |\n")
    builder.add("\n")
