"""Plain text and Markdown: as they stand, with Markdown's headings as sections."""

import re

from tenantry.knowledge.parse.decoding import decode
from tenantry.knowledge.parse.parsed import ParsedDocument, TextBuilder

_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(\S.*)$")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})")


def parse_text(content: bytes) -> ParsedDocument:
    """Plain text: one section.

    Raises:
        DocumentUnreadable: it is no text.
    """
    builder = TextBuilder()
    builder.add(decode(content))
    return builder.build()


def parse_markdown(content: bytes) -> ParsedDocument:
    """Markdown as it stands: people and models read its marks; headings begin sections.

    Raises:
        DocumentUnreadable: it is no text.
    """
    builder, fence = TextBuilder(), ""
    for line in decode(content).splitlines(keepends=True):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
        heading = None if fence else _HEADING.match(line.rstrip())
        if heading:
            builder.heading(len(heading[1]), heading[2].rstrip("# \t"), line)
        else:
            builder.add(line)
    return builder.build()
