"""Cuts a document into passages: within sections, at paragraph and sentence ends, exact offsets.

About 200 tokens each: the embedder reads 512 at most, and shorter passages rank and quote better.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tenantry.knowledge.parse.parsed import ParsedDocument, Section

TARGET_CHARS = 800
"""About 200 tokens of a European language."""
_BREAKS = (
    re.compile(r"\n[ \t]*\n"),
    re.compile(r"\n"),
    re.compile(r"(?<=[.!?…])\s+"),
    re.compile(r"\s+"),
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: `text == document.text[start:end]`, never empty, never only white space."""

    number: int
    text: str
    heading: str
    page: int
    start: int
    end: int


def chunks_of(document: ParsedDocument, target_chars: int = TARGET_CHARS) -> list[Chunk]:
    """The passages of a document, in order; together they hold all of its text but white space."""
    found: list[Chunk] = []
    for section in document.sections:
        for start, end in _cut(document.text, section, target_chars):
            text = document.text[start:end]
            found.append(Chunk(len(found), text, section.heading, section.page, start, end))
    return found


def _cut(text: str, section: Section, target: int) -> Iterator[tuple[int, int]]:
    start = section.start
    while start < section.end:
        end = section.end
        if end - start > target:
            end = _best_break(text, start, min(start + target, section.end))
        trimmed = _trimmed(text, start, end)
        if trimmed is not None:
            yield trimmed
        start = end


def _best_break(text: str, start: int, limit: int) -> int:
    """The last good place to cut in the second half of the window; else its very end."""
    half = start + (limit - start) // 2
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(text, half, limit)]
        if ends:
            return ends[-1]
    return limit


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    piece = text[start:end]
    if not piece.strip():
        return None
    return start + len(piece) - len(piece.lstrip()), end - (len(piece) - len(piece.rstrip()))
