"""PDF: the text of each page, and its tables row by row where they can be told."""

import io
import logging

from pypdf import PdfReader
from pypdf.errors import DependencyError, PyPdfError

from tenantry.core.errors import DocumentUnreadable, TooLarge
from tenantry.knowledge.parse.parsed import ParsedDocument, TextBuilder
from tenantry.knowledge.parse.pdf_tables import MALFORMED, may_hold_tables, pages_with_tables
from tenantry.knowledge.parse.table import add_rows

_MOST_PAGES = 5000
_BROKEN = (PyPdfError, *MALFORMED)


def parse_pdf(content: bytes) -> ParsedDocument:
    """The pages in order: text as lines, each row of a table as a sentence, as in a CSV.

    Raises:
        DocumentUnreadable: it is broken, encrypted, or holds no text (a scan).
        TooLarge: it has more than 5,000 pages.
    """
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = PdfReader(io.BytesIO(content))
        # An empty password opens what is only protected against printing and the like.
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentUnreadable("The PDF is protected by a password.")
        parsed = _pages(reader, content)
    except (DependencyError, NotImplementedError) as error:
        raise DocumentUnreadable("The PDF is encrypted in a way that is not read.") from error
    except _BROKEN as error:
        raise DocumentUnreadable("The PDF is broken.") from error
    if not parsed.text.strip():
        raise DocumentUnreadable("The PDF holds no text; a scan must be recognised first.")
    return parsed


def _pages(reader: PdfReader, content: bytes) -> ParsedDocument:
    builder, count = TextBuilder(), len(reader.pages)
    if count > _MOST_PAGES:
        raise TooLarge(f"A PDF has at most {_MOST_PAGES} pages.")
    ruled = [number for number, page in enumerate(reader.pages, 1) if may_hold_tables(page)]
    laid_out = pages_with_tables(content, ruled) if ruled else {}
    for number, page in enumerate(reader.pages, start=1):
        builder.page(number)
        for block in laid_out.get(number) or [page.extract_text()]:
            if isinstance(block, str):
                builder.add(block + "\n" if block else "")
            else:
                builder.add("\n")
                add_rows(builder, block)
    return builder.build(count)
