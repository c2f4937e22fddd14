"""PDF: the tables of a page, in their place between its text; needs pdfplumber.

A PDF knows no tables, only lines and words. What stands between ruled lines, in two rows and two
columns at least, is read as a table (the method of Nurminen, "Algorithmic extraction of data in
tables in PDF documents", 2013, which pdfplumber follows). A table without lines stays text.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pypdf import PageObject

if TYPE_CHECKING:
    from pdfplumber.page import Page
    from pdfplumber.table import Table

Rows = list[list[str]]

# Operators that draw a rectangle or a straight line: PDF 32000-1, tables 59 and 60.
_LINE = re.compile(rb"[\d.]\s+(?:re|l)\b")
_FEWEST_LINES, _MOST_LINES = 4, 5000
_LEAST = 2  # rows and columns
# What readers of PDFs let through when an object is not of the kind that the format demands.
MALFORMED = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
    AssertionError,
)  # fmt: skip
_BROKEN = (*MALFORMED, OSError, struct.error, zlib.error)


def may_hold_tables(page: PageObject) -> bool:
    """Whether a page draws lines enough for a table, and not so many that it is a drawing."""
    content = page.get_contents()
    if content is None:
        return False
    return _FEWEST_LINES <= len(_LINE.findall(content.get_data())) <= _MOST_LINES


def pages_with_tables(content: bytes, numbers: Sequence[int]) -> dict[int, list[str | Rows]]:
    """Of these pages, counted from 1, those that hold a table: texts and tables from the top down.

    A page that cannot be read this way is left out, as is every page where pdfplumber is not
    installed: its text can be had without.
    """
    try:
        import pdfplumber
        from pdfminer.psexceptions import PSException
        from pdfplumber.utils.exceptions import MalformedPDFException, PdfminerException
    except ModuleNotFoundError:
        return {}
    broken = (*_BROKEN, PSException, PdfminerException, MalformedPDFException)
    found: dict[int, list[str | Rows]] = {}
    try:
        with pdfplumber.open(io.BytesIO(content), pages=list(numbers)) as document:
            for page in document.pages:
                if blocks := _blocks(page):
                    found[page.page_number] = blocks
                page.close()  # lets go of its characters
    except broken:
        return found
    return found


def _blocks(page: "Page") -> list[str | Rows]:
    tables = sorted(_tables(page), key=lambda table: table[0].bbox[1])
    if not tables:
        return []
    boxes = [table.bbox for table, _ in tables]
    around = page.filter(lambda thing: not any(_within(thing, box) for box in boxes))
    left, top, right, bottom = page.bbox
    edges = [top, *(min(max(box[1], top), bottom) for box in boxes), bottom]
    texts = [
        around.crop((left, above, right, below)).extract_text() if above < below else ""
        for above, below in pairwise(edges)
    ]
    blocks: list[str | Rows] = [texts[0]]
    for (_, rows), text in zip(tables, texts[1:], strict=True):
        blocks += [rows, text]
    return blocks


def _tables(page: "Page") -> Iterator[tuple["Table", Rows]]:
    for table in page.find_tables():
        rows = [[" ".join((cell or "").split()) for cell in row] for row in table.extract()]
        full = [row for row in rows if any(row)]
        if len(full) >= _LEAST and sum(any(column) for column in zip(*full, strict=True)) >= _LEAST:
            yield table, full


def _within(thing: dict[str, float], box: tuple[float, float, float, float]) -> bool:
    """Whether the middle of a character or line lies in a box."""
    across, down = (thing["x0"] + thing["x1"]) / 2, (thing["top"] + thing["bottom"]) / 2
    return box[0] <= across <= box[2] and box[1] <= down <= box[3]
