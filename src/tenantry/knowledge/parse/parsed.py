"""What parsing gives: one text, and where its sections begin."""

from dataclasses import dataclass, field


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
        sections: in order, without gaps that hold text.
        pages: number of pages, 1 where the format has none.
        title: the document's own title, or empty.
    """

    text: str
    sections: tuple[Section, ...]
    pages: int = 1
    title: str = ""


@dataclass(slots=True)
class TextBuilder:
    """Collects text piece by piece and remembers where sections begin."""

    _parts: list[str] = field(default_factory=list)
    _sections: list[Section] = field(default_factory=list)
    _length: int = 0
    _start: int = 0
    _heading: str = ""
    _page: int = 1
    _trail: list[tuple[int, str]] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Append text to the current section."""
        self._parts.append(text)
        self._length += len(text)

    def page(self, number: int) -> None:
        """Begin a page."""
        self._cut()
        self._page = number

    def heading(self, level: int, text: str) -> None:
        """Begin a section; headings of the same or a deeper level end."""
        self._cut()
        while self._trail and self._trail[-1][0] >= level:
            self._trail.pop()
        self._trail.append((level, " ".join(text.split())))
        self._heading = " > ".join(name for _, name in self._trail)

    def build(self, title: str = "", pages: int = 1) -> ParsedDocument:
        """The document."""
        self._cut()
        return ParsedDocument("".join(self._parts), tuple(self._sections), pages, title)

    def _cut(self) -> None:
        if self._length > self._start:
            section = Section(self._heading, self._page, self._start, self._length)
            self._sections.append(section)
            self._start = self._length
