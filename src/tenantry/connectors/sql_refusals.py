"""What is said about a statement that may not run, for whoever wrote it and for the audit log.

A refusal helps to mend the statement: it names what was refused and what there is instead. What it
quotes is hostile text: printable and short.
"""

import difflib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from sqlglot.errors import SqlglotError

_NAMES_SHOWN = 30
_CHARACTERS_SHOWN = 100

Reason = Literal["syntax", "statement", "function", "relation", "column"]


@dataclass(frozen=True, slots=True)
class Refused:
    """A statement that may not run.

    Attributes:
        reason: `syntax` is a mistake; the others reach outside the scope.
        subject: the name or construct refused, as written; empty for a mistake.
        message: what to do instead, for whoever wrote the statement.
    """

    reason: Reason
    subject: str
    message: str


class NotAllowed(Exception):
    """Ends the reading of a statement with a refusal; never leaves the guard."""

    def __init__(self, reason: Reason, subject: str, message: str) -> None:
        super().__init__(message)
        self.refused = Refused(reason, subject, message)


def mistake(message: str) -> NotAllowed:
    """The statement cannot be read; nothing was reached for."""
    return NotAllowed("syntax", "", message)


def unknown_function(name: str, functions: Collection[str]) -> NotAllowed:
    """`name` is none of the functions that may be called."""
    near = difflib.get_close_matches(name.lower(), sorted(functions), n=3)
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    message = f"The function {short(name)} is not available here.{hint}"
    return NotAllowed("function", short(name), message)


def unknown_relation(written: str, relations: Iterable[tuple[str, ...]]) -> NotAllowed:
    """`written` is none of the tables that may be read."""
    names = sorted(".".join(relation) for relation in relations)
    message = f"There is no table {short(written)} here. Available tables: {_listed(names)}."
    return NotAllowed("relation", short(written), message)


def unknown_column(written: str, columns: Collection[str]) -> NotAllowed:
    """`written` is none of the columns that may be read."""
    message = f"There is no column {short(written)} here. Available columns: "
    return NotAllowed("column", short(written), f"{message}{_listed(sorted(columns))}.")


def short(name: str) -> str:
    """`name` as it may be quoted."""
    plain = "".join(character if character.isprintable() else "?" for character in name)
    return plain if len(plain) <= _CHARACTERS_SHOWN else f"{plain[:_CHARACTERS_SHOWN]}…"


def explain(error: SqlglotError) -> str:
    """Where the parser stopped, and why, without its own objects."""
    found = getattr(error, "errors", None)
    if not found:
        return ""
    first = found[0]
    description = re.sub(r"<[^>]*>", "something else", str(first.get("description") or ""))
    return f"{description} (line {first.get('line')}, column {first.get('col')})."


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN]) or "none"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{shown}{more}"
