"""Writes what was found as a short Markdown answer: rows, quotes, sources.

Threat: a cell or a sentence that somebody planted breaks out of its table or quote, or forges a
source. Invariant: foreign text stays one line, inside its cell or quote, and no bracket of it
reads as a reference.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenantry.core.events import Json

MOST_ROWS = 10
MOST_COLUMNS = 12
_MOST_CELL_CHARS = 200
_REFERENCE = re.compile(r"\[(\s*(?:doc|query|verified)\s*:[^\[\]]*)\]", re.IGNORECASE)
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Rows:
    """The result of a query, as the tool gave it."""

    ref: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Json, ...], ...]
    row_count: int
    truncated: bool
    sql: str

    @classmethod
    def of(cls, result: Mapping[str, Json]) -> "Rows | None":
        """The rows in a tool's result; None when it is an error or of another shape."""
        ref, sql = result.get("ref"), result.get("sql")
        columns, rows = result.get("columns"), result.get("rows")
        if not isinstance(ref, str) or not isinstance(sql, str):
            return None
        if not isinstance(columns, list) or not isinstance(rows, list):
            return None
        if not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
            return None
        count = result.get("row_count")
        return cls(
            ref,
            tuple(str(column) for column in columns),
            tuple(tuple(row) for row in rows),
            count if isinstance(count, int) else len(rows),
            result.get("truncated") is True,
            sql,
        )


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence of a document, word for word."""

    sentence: str
    ref: str
    title: str


def rows_answer(question: str, found: Rows) -> list[str]:
    """The lines of an answer out of data, to the verified question that it answers."""
    lines = [f"Verified query “{one_line(question)}” [{found.ref}]:", ""]
    if not found.rows:
        lines.append("The query ran and found no rows.")
    elif len(found.rows) == 1 and len(found.columns) == 1:
        lines.append(f"{one_line(found.columns[0])} is **{_cell(found.rows[0][0])}**.")
    else:
        lines += _table(found)
    return [*lines, "", *_code(found.sql)]


def quotes_answer(quotes: Sequence[Quote]) -> list[str]:
    """The lines of an answer out of documents: sentences, each with its source."""
    told = "The sentence" if len(quotes) == 1 else f"The {len(quotes)} sentences"
    lines = [f"{told} of the documents nearest to the question, word for word:"]
    for quote in quotes:
        lines += ["", f"> “{one_line(quote.sentence)}” [{quote.ref}] ({one_line(quote.title)})"]
    return lines


def one_line(text: str) -> str:
    """Foreign text on one line, in which nothing reads as a reference of ours."""
    return _no_source(_SPACE.sub(" ", text).strip())


def _no_source(text: str) -> str:
    return _REFERENCE.sub(r"\\[\1\\]", text)


def _table(found: Rows) -> list[str]:
    columns = found.columns[:MOST_COLUMNS]
    shown = found.rows[:MOST_ROWS]
    lines = [
        "| " + " | ".join(_cell(column) for column in columns) + " |",
        "|" + " --- |" * len(columns),
    ]
    lines += ["| " + " | ".join(map(_cell, row[:MOST_COLUMNS])) + " |" for row in shown]
    left_out = []
    if len(shown) < found.row_count or found.truncated:
        many = "more than " if found.truncated else ""
        left_out.append(f"the first {len(shown)} of {many}{found.row_count} rows")
    if len(columns) < len(found.columns):
        left_out.append(f"the first {len(columns)} of {len(found.columns)} columns")
    return [*lines, "", f"Shown: {' and '.join(left_out)}."] if left_out else lines


def _cell(value: Json) -> str:
    if value is None:
        return "–"  # noqa: RUF001  # an empty cell, as tables are set
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = _SPACE.sub(" ", str(value)).strip()
    if len(text) > _MOST_CELL_CHARS:
        text = text[: _MOST_CELL_CHARS - 1] + "…"
    return _no_source(text.replace("\\", "\\\\").replace("|", "\\|"))


def _code(sql: str) -> list[str]:
    longest = max((len(run) for run in re.findall(r"`+", sql)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sql", *sql.strip().splitlines(), fence]
