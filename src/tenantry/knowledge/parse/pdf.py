"""PDF: the text of each page."""

import io
import logging

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from tenantry.core.errors import DocumentUnreadable, TooLarge
from tenantry.knowledge.parse.parsed import ParsedDocument, TextBuilder

_MOST_PAGES = 5000


def parse_pdf(content: bytes) -> ParsedDocument:
    """The pages' text, in order.

    Raises:
        DocumentUnreadable: it is broken, encrypted, or holds no text (a scan).
        TooLarge: it has more than 5,000 pages.
    """
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    builder = TextBuilder()
    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentUnreadable("The PDF is protected by a password.")
        if len(reader.pages) > _MOST_PAGES:
            raise TooLarge(f"A document has at most {_MOST_PAGES} pages.")
        for number, page in enumerate(reader.pages, start=1):
            builder.page(number)
            text = page.extract_text()
            builder.add(text.replace("\0", "") + "\n" if text else "")
        title = str(reader.metadata.title or "") if reader.metadata else ""
        parsed = builder.build(title, len(reader.pages))
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DocumentUnreadable("The PDF is broken.") from error
    if not parsed.text.strip():
        raise DocumentUnreadable("The PDF holds no text; a scan must be recognised first.")
    return parsed
