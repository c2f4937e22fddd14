"""The show's plain text: tables for people, no colours, nothing a terminal could obey."""

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from tabulate import tabulate

from tenantry.demo.interview import Answer

_NARROWEST, _WIDEST = 80, 140
_LONGEST_LOCATOR = 60


def width() -> int:
    """Characters in a line: the terminal's, within reason; 100 when there is none."""
    columns = shutil.get_terminal_size((100, 24)).columns
    return max(_NARROWEST, min(_WIDEST, columns))


def heading(text: str) -> str:
    """A section's title, underlined."""
    return f"\n{text}\n{'=' * len(text)}\n"


def usd(picousd: int) -> str:
    """Money for people, exact: whole pico-dollars in dollars, with six decimals or more."""
    dollars, _, decimals = f"{Decimal(picousd).scaleb(-12):.12f}".partition(".")
    return f"${dollars}.{decimals.rstrip('0'):0<6}"


def side_by_side(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table: names at the left, then one column a tenant, texts wrapped."""
    body = [[printable(cell) for cell in row] for row in rows]
    names = max((len(row[0]) for row in body), default=0)
    column = (width() - names - 2 * len(titles)) // len(titles)
    wrapped = [[row[0], *(_wrapped(cell, column) for cell in row[1:])] for row in body]
    # Two spaces and dashes only, so that it can be read wherever it is pasted.
    return tabulate(wrapped, headers=["", *titles], tablefmt="simple", disable_numparse=True)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], widest: Mapping[int, int]) -> str:
    """A table of short cells.

    Args:
        headers: of the columns.
        rows: texts, in column order.
        widest: by column number, after how many characters its cells wrap.
    """
    body = [
        [_wrapped(printable(cell), widest.get(n, width())) for n, cell in enumerate(row)]
        for row in rows
    ]
    return tabulate(body, headers=list(headers), tablefmt="simple", disable_numparse=True)


def answer_text(answer: Answer) -> str:
    """An answer without the SQL that it shows: that stands among its sources."""
    lines, inside = [], False
    for line in answer.text.splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside:
            lines.append(line.rstrip())
    return "\n".join(line for line in lines if line)


def sources_text(answer: Answer) -> str:
    """The sources of an answer, one a line."""
    if not answer.sources:
        return "none"
    return "\n".join(
        f"[{s.ref}] {s.title}: {textwrap.shorten(s.locator, _LONGEST_LOCATOR, placeholder=' …')}"
        for s in answer.sources
    )


def printable(text: str) -> str:
    """`text` without control characters: what a tenant wrote must not drive the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _wrapped(text: str, column: int) -> str:
    return "\n".join(
        textwrap.fill(line, column, break_on_hyphens=False) for line in text.splitlines()
    )
