"""XLSX: each sheet as a section, each row as a sentence, as in a CSV; values, not formulas."""

import zipfile
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from io import BytesIO

from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from tenantry.core.errors import DocumentUnreadable
from tenantry.knowledge.parse.parsed import ParsedDocument, TextBuilder
from tenantry.knowledge.parse.table import add_rows
from tenantry.knowledge.parse.zipped import unzipped

_BROKEN = "The file is not a readable Excel workbook."
_MOST_ROWS = 1_048_576
"""Of a sheet, as Excel has it; gaps before a row of a higher number are rows too."""
# What openpyxl lets through when a part is not as the format demands; its XML errors are these.
_FAULTS = (
    InvalidFileException, zipfile.BadZipFile, LookupError, ValueError, TypeError, AttributeError,
    SyntaxError, OSError,
)  # fmt: skip


def parse_xlsx(content: bytes) -> ParsedDocument:
    """The sheets of a workbook, the first row of each naming its columns.

    Raises:
        DocumentUnreadable: it is no workbook, or a sheet has more than 500 columns.
        TooLarge: it unpacks to more than a document can be.
    """
    unzipped(content, _BROKEN).close()
    builder = TextBuilder()
    try:
        book = load_workbook(BytesIO(content), read_only=True, data_only=True, keep_links=False)
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # a sheet may claim any size
            builder.heading(1, sheet.title)
            add_rows(builder, _rows(sheet.iter_rows(values_only=True)))
    except _FAULTS as error:
        raise DocumentUnreadable(_BROKEN) from error
    if not builder.has_text:
        raise DocumentUnreadable("The workbook holds no values.")
    return builder.build()


def _rows(rows: Iterable[Iterable[object]]) -> Iterator[list[str]]:
    for number, row in enumerate(rows, start=1):
        if number > _MOST_ROWS:
            raise DocumentUnreadable(_BROKEN)
        yield [_cell(value) for value in row]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()  # Excel keeps dates as moments
    if isinstance(value, datetime | date | time):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
