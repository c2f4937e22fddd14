"""What parsing gives: one text, and where its sections begin."""

import re
from dataclasses import dataclass, field

from tenantry.core.errors import TooLarge

MOST_TEXT = 10_000_000
"""Characters of text in a document, at most: more than three thousand pages."""
_LONGEST_HEADING = 120
# What no text needs and PostgreSQL (NUL) or UTF-8 (lone surrogates) cannot store.
_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of the text under one heading, or on one page.

    Attributes:
        heading: nearest heading, with those above it, joined by ` > `; empty if none.
        page: page number from 1; 1 throughout where the format has no pages.
        start: offset of its first character in the text.
        end: offset after its last character.
    """

    heading: str
    page: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A document as text.

    Attributes:
        text: everything, in reading order.
        sections: in order; together they cover the text.
        pages: number of pages, 1 where the format has none.
    """

    text: str
    sections: tuple[Section, ...]
    pages: int = 1


@dataclass(slots=True)
class TextBuilder:
    """Collects text piece by piece and remembers where sections begin."""

    _parts: list[str] = field(default_factory=list)
    _sections: list[Section] = field(default_factory=list)
    _length: int = 0
    _start: int = 0
    _has_body: bool = False
    _has_any: bool = False
    _heading: str = ""
    _page: int = 1
    _trail: list[tuple[int, str]] = field(default_factory=list)

    @property
    def at_line_start(self) -> bool:
        """Whether what is added next begins a line."""
        return not self._parts or self._parts[-1].endswith("\n")

    @property
    def has_text(self) -> bool:
        """Whether there is more than headings."""
        return self._has_any

    def add(self, text: str) -> None:
        """Append text to the current section.

        Raises:
            TooLarge: the document holds more text than a document may.
        """
        self._append(text)
        self._has_body = self._has_body or bool(text.strip())
        self._has_any = self._has_any or self._has_body

    def page(self, number: int) -> None:
        """Begin a page."""
        self._cut()
        self._page = number

    def heading(self, level: int, name: str, line: str = "") -> None:
        """Begin a section; headings of the same or a deeper level end.

        A heading with nothing below it but the next heading makes no section of its own: a
        passage that says only "Refunds" would answer every question about refunds with nothing.

        Args:
            level: 1 for the highest.
            name: the heading's text.
            line: the same as it stands in the document, or empty to write it as Markdown.

        Raises:
            TooLarge: the document holds more text than a document may.
        """
        if self._has_body:
            self._cut()
        while self._trail and self._trail[-1][0] >= level:
            self._trail.pop()
        name = " ".join(name.split())
        self._trail.append((level, _storable(name)[:_LONGEST_HEADING]))
        self._heading = " > ".join(text for _, text in self._trail if text)
        self._append(line or f"\n{'#' * level} {name}\n\n")

    def include(self, name: str, part: ParsedDocument) -> None:
        """Append another document under a heading of its name; its sections stay sections.

        Pages are its own: they stand in the headings, and are none of the whole document's.

        Raises:
            TooLarge: the document holds more text than a document may.
        """
        self.heading(1, name)
        top = self._heading
        for section in part.sections:
            if self._has_body:
                self._cut()
            page = f"page {section.page}" if part.pages > 1 else ""
            self._heading = " > ".join(text for text in (top, page, section.heading) if text)
            self.add(part.text[section.start : section.end])
        if not self.at_line_start:
            self.add("\n")

    def build(self, pages: int = 1) -> ParsedDocument:
        """The document."""
        self._cut()
        return ParsedDocument("".join(self._parts), tuple(self._sections), pages)

    def _append(self, text: str) -> None:
        storable = _storable(text)
        self._length += len(storable)
        if self._length > MOST_TEXT:
            raise TooLarge(f"A document has at most {MOST_TEXT} characters of text; split it.")
        if storable:
            self._parts.append(storable)

    def _cut(self) -> None:
        if self._length > self._start:
            section = Section(self._heading, self._page, self._start, self._length)
            self._sections.append(section)
            self._start = self._length
        self._has_body = False


def _storable(text: str) -> str:
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\0", ""))
