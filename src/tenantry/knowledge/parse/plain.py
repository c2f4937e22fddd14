"""Text, Markdown and CSV: decoded, with Markdown's headings as sections."""

import csv
import io
import re

from charset_normalizer import from_bytes

from tenantry.core.errors import DocumentUnreadable
from tenantry.knowledge.parse.parsed import ParsedDocument, TextBuilder

_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r"^[ \t]*(```|~~~)")
_MOST_COLUMNS = 500
_MOST_CELL = 1_000_000


def decode(content: bytes) -> str:
    """The text in `content`: UTF-8, UTF-16 with a mark, or what its bytes most likely are.

    Raises:
        DocumentUnreadable: it is no text.
    """
    for encoding, mark in (("utf-8-sig", b""), ("utf-16", b"\xff\xfe"), ("utf-16", b"\xfe\xff")):
        if content.startswith(mark):
            try:
                text = content.decode(encoding)
            except UnicodeDecodeError:
                continue
            break
    else:
        guess = from_bytes(content).best()
        if guess is None:
            raise DocumentUnreadable("The file is not text in any encoding we know.")
        text = str(guess)
    strange = sum(1 for c in text[:10_000] if ord(c) < 32 and c not in "\t\n\r\f")
    if strange > len(text[:10_000]) // 100:
        raise DocumentUnreadable("The file is not text.")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def parse_text(content: bytes) -> ParsedDocument:
    """Plain text: one section."""
    builder = TextBuilder()
    builder.add(decode(content))
    return builder.build()


def parse_markdown(content: bytes) -> ParsedDocument:
    """Markdown as it stands: people and models read its marks; headings begin sections."""
    builder, title, fenced = TextBuilder(), "", False
    for line in decode(content).splitlines(keepends=True):
        if _FENCE.match(line):
            fenced = not fenced
        heading = None if fenced else _HEADING.match(line.rstrip("\n"))
        if heading:
            builder.heading(len(heading[1]), heading[2])
            title = title or heading[2]
        builder.add(line)
    return builder.build(title)


def parse_csv(content: bytes) -> ParsedDocument:
    """A table as sentences, `column: value` a row, so that a row can be quoted by itself."""
    text = decode(content)
    csv.field_size_limit(_MOST_CELL)
    try:
        dialect: type[csv.Dialect] | csv.Dialect = csv.Sniffer().sniff(text[:20_000], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    builder = TextBuilder()
    try:
        rows = csv.reader(io.StringIO(text), dialect)
        names = next(rows, [])
        if len(names) > _MOST_COLUMNS:
            raise DocumentUnreadable(f"A table has at most {_MOST_COLUMNS} columns.")
        for row in rows:
            cells = [f"{n.strip()}: {v.strip()}" for n, v in zip(names, row, strict=False) if v]
            builder.add("; ".join(cells) + "\n")
    except csv.Error as error:
        raise DocumentUnreadable("The file is not a valid CSV table.") from error
    return builder.build()
