"""CSV: a table as sentences, `column: value` a row, so that each row can be quoted by itself."""

import csv
import io
from collections.abc import Iterable
from itertools import zip_longest

from tenantry.core.errors import DocumentUnreadable
from tenantry.knowledge.parse.decoding import decode
from tenantry.knowledge.parse.parsed import ParsedDocument, TextBuilder

_MOST_COLUMNS = 500
_MOST_CELL = 1_000_000
_SAMPLE = 20_000
_DELIMITERS = ",;\t|"


def parse_csv(content: bytes) -> ParsedDocument:
    """A table whose first row names its columns.

    Raises:
        DocumentUnreadable: it is no table, or has more than 500 columns.
    """
    text = decode(content)
    csv.field_size_limit(_MOST_CELL)
    try:
        dialect: type[csv.Dialect] | csv.Dialect = csv.Sniffer().sniff(text[:_SAMPLE], _DELIMITERS)
    except csv.Error:
        dialect = csv.excel  # one column, or too little to tell
    builder = TextBuilder()
    try:
        add_rows(builder, csv.reader(io.StringIO(text), dialect))
    except csv.Error as error:
        raise DocumentUnreadable("The file is not a valid CSV table.") from error
    return builder.build()


def add_rows(builder: TextBuilder, rows: Iterable[list[str]]) -> None:
    """Each row as a sentence; the first names the columns.

    Raises:
        DocumentUnreadable: a row has more than 500 columns.
    """
    each = iter(rows)
    names = [name.strip() for name in next(each, [])]
    for row in each:
        if max(len(row), len(names)) > _MOST_COLUMNS:
            raise DocumentUnreadable(f"A table has at most {_MOST_COLUMNS} columns.")
        builder.add(_sentence(names, row))


def _sentence(names: list[str], row: list[str]) -> str:
    """A row; the empty line after it makes it a paragraph, so that no passage cuts it."""
    cells = (
        f"{name or f'column {number}'}: {' '.join(value.split())}"
        for number, (name, value) in enumerate(zip_longest(names, row, fillvalue=""), start=1)
        if value.strip()
    )
    sentence = "; ".join(cells)
    return sentence + "\n\n" if sentence else ""
