"""Uploaded tables as the converting process takes them: Parquet as is, text as UTF-8.

Only bytes are looked at here, in the server; everything that parses runs in the confined process.
"""

import csv
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Sequence
from dataclasses import dataclass

from charset_normalizer import CharsetMatch, from_bytes

from tenantry.core.errors import DocumentUnreadable

_PARQUET = b"PAR1"
_DELIMITERS = ",;\t|"
_SAMPLE_BYTES = 64 * 1024
_WESTERN = "cp1252"
# What spreadsheets export; among all encodings that exist, short texts fit too many.
_CODE_PAGES = (
    _WESTERN, "cp1250", "cp1251", "cp1253", "cp1254", "cp932", "gb18030", "big5", "euc_kr", "euc_jp"
)  # fmt: skip
_STEP_BYTES = 1 << 20  # decoded at once: a whole upload as text would take four times its size
_MOST_COLUMNS = 1_000
_LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class TableContent:
    """An upload, ready to be converted.

    Attributes:
        content: Parquet, or text in UTF-8.
        names: columns of a text, as its first line names them, each made unique.
        delimiter: between the fields of a text; empty for Parquet.
    """

    content: bytes
    names: tuple[str, ...] = ()
    delimiter: str = ""


def read_table(content: bytes) -> TableContent:
    """Recognise an upload by its content; names and declared types are not trusted.

    Raises:
        DocumentUnreadable: it is neither Parquet nor text with a line of column names.
    """
    if not content:
        raise DocumentUnreadable("The file is empty.")
    if content.startswith(_PARQUET) and content.endswith(_PARQUET):
        return TableContent(content)
    text = _as_utf8(content)
    names, delimiter = _header(text)
    check_names(names)
    return TableContent(text, _unique(names), delimiter)


def _as_utf8(content: bytes) -> bytes:
    if content.startswith(BOM_UTF8):
        content = content[len(BOM_UTF8) :]
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        content = _decoded(content, "utf-16").encode()
    if b"\x00" in content:
        raise DocumentUnreadable("The file is neither CSV nor Parquet.")
    if not _is_utf8(content):
        content = _decoded(content, _encoding(content)).encode()
    return content.lstrip(b"\r\n")


def _is_utf8(content: bytes) -> bool:
    decoder = getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), _STEP_BYTES):
            decoder.decode(content[start : start + _STEP_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _encoding(content: bytes) -> str:
    """The likeliest code page; where western and central European fit alike, the western one."""
    found = list(from_bytes(content[:_SAMPLE_BYTES], cp_isolation=list(_CODE_PAGES)))
    alike = [match.encoding for match in found if _fit(match) == _fit(found[0])]
    return _WESTERN if not alike or _WESTERN in alike else alike[0]


def _fit(match: CharsetMatch) -> tuple[float, float]:
    return match.chaos, match.coherence


def _decoded(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise DocumentUnreadable("The encoding of the file could not be recognised.") from error


def _header(text: bytes) -> tuple[list[str], str]:
    """Column names and the delimiter that separates most of them; the first line is the header."""
    start = text[:_SAMPLE_BYTES].decode(errors="ignore")
    rows = [(_first_row(start, delimiter), delimiter) for delimiter in _DELIMITERS]
    return max(rows, key=lambda row: len(row[0]))


def _first_row(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(text.splitlines(keepends=True), delimiter=delimiter), [])
    except csv.Error as error:
        raise DocumentUnreadable("The first line of the file is not a line of CSV.") from error


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Names without repetition, by DuckDB's rule of comparing them, and none of them empty."""
    taken: set[str] = set()
    unique = []
    for place, name in enumerate(names, 1):
        wanted = stem = name.strip() or f"column_{place}"
        number = 1
        while wanted.lower() in taken:
            number += 1
            wanted = f"{stem}_{number}"
        taken.add(wanted.lower())
        unique.append(wanted)
    return tuple(unique)


def check_names(names: Sequence[str]) -> None:
    """Refuse a table whose columns nobody could name.

    Raises:
        DocumentUnreadable: there are none, too many, or one that is too long or not printable.
    """
    if not any(name.strip() for name in names):
        raise DocumentUnreadable("The first line of the file must name the columns.")
    if len(names) > _MOST_COLUMNS:
        raise DocumentUnreadable(f"The file has more than {_MOST_COLUMNS} columns.")
    for name in names:
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise DocumentUnreadable(
                f"A column name is not printable or longer than {_LONGEST_NAME} characters."
            )
