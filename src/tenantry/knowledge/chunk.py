"""Cuts a document into passages: within sections, at paragraph and sentence ends, exact offsets.

About 200 tokens each: the embedder reads 512 at most, and shorter passages rank and quote better.
Size is counted in bytes of UTF-8, which keeps near that in every script: a token is about four
letters of Latin, two of Cyrillic or Arabic, and one or two of Chinese or Japanese.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tenantry.knowledge.parse.parsed import ParsedDocument, Section

TARGET_BYTES = 800
"""Of UTF-8; no passage is longer. No text we tried makes more than 500 tokens of it."""
_BREAKS = (
    re.compile(r"\n[ \t]*\n"),  # a paragraph's end
    re.compile(r"(?<=[.!?…])[\"'”’»)\]]*\s+|[。！？]+"),  # noqa: RUF001  # a sentence's end
    re.compile(r"\n"),
    re.compile(r"\s+"),
)
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: `text == document.text[start:end]`, never empty, no white space around it."""

    number: int
    text: str
    heading: str
    page: int
    start: int
    end: int


def chunks_of(document: ParsedDocument, target: int = TARGET_BYTES) -> list[Chunk]:
    """The passages of a document, in order; together they hold all of its text but white space.

    Args:
        document: the parsed document.
        target: bytes of a passage, at most; at least 4, so that any character fits.
    """
    found: list[Chunk] = []
    for section in document.sections:
        for start, end in _pieces(document.text, section, target):
            text = document.text[start:end]
            found.append(Chunk(len(found), text, section.heading, section.page, start, end))
    return found


def _pieces(text: str, section: Section, target: int) -> Iterator[tuple[int, int]]:
    start = _after_space(text, section.start, section.end)
    while start < section.end:
        end = _end(text, start, section.end, target)
        yield start, start + len(text[start:end].rstrip())
        start = _after_space(text, end, section.end)


def _end(text: str, start: int, stop: int, target: int) -> int:
    fitting = _fit(text, start, stop, target)
    if fitting == stop:
        return stop
    if _fit(text, start, stop, target + target // 2) == stop:
        # The rest makes two passages: of similar size, rather than one whole and a crumb.
        third = max(1, (stop - start) // 3)
        return _last_break(text, start + third, min(fitting, start + 2 * third))
    return _last_break(text, start + (fitting - start) // 2, fitting)


def _fit(text: str, start: int, stop: int, size: int) -> int:
    """How far at most `size` bytes reach from `start`; always one character further."""
    head = text[start : min(start + size, stop)]
    if head.isascii():
        return start + len(head)
    return start + max(1, len(head.encode()[:size].decode(errors="ignore")))


def _last_break(text: str, low: int, high: int) -> int:
    """The end of the last paragraph between `low` and `high`, else sentence, line, word; `high`."""
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(text, low, high)]
        if ends:
            return ends[-1]
    return high


def _after_space(text: str, start: int, stop: int) -> int:
    match = _SPACE.match(text, start, stop)
    return match.end() if match else start
