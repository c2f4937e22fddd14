"""Loads `<room>/queries.sql`: named blocks, so that all SQL can be read and explained as SQL.

    -- name: list_documents
    -- Rows: document_id, title; newest first.
    SELECT …

Form taken from aiosql and procrastinate. Statements use psycopg's named placeholders `%(x)s`.
"""

import re
from collections.abc import Iterator, Mapping
from importlib import resources

from tenantry.core.errors import StartupRefused

_NAME = re.compile(r"^-- name: *([a-z][a-z0-9_]*) *$", re.MULTILINE)


class Queries(Mapping[str, bytes]):
    """The statements of one room, by name; immutable."""

    def __init__(self, statements: Mapping[str, bytes]) -> None:
        self._statements = dict(statements)

    def __getitem__(self, name: str) -> bytes:
        """The statement called `name`."""
        return self._statements[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)


def parse(text: str) -> Queries:
    """Split a file of named blocks.

    Raises:
        StartupRefused: text before the first name, or a name given twice.
    """
    parts = _NAME.split(text)
    if any(line.strip() and not line.startswith("--") for line in parts[0].splitlines()):
        raise StartupRefused("SQL before the first `-- name:` line.")
    names, bodies = parts[1::2], parts[2::2]
    if len(set(names)) != len(names):
        raise StartupRefused(f"A query name is given twice among {names}.")
    return Queries({n: _without_comments(b).encode() for n, b in zip(names, bodies, strict=True)})


def load(room: str) -> Queries:
    """The queries of the package `room`, from its `queries.sql`."""
    return parse(resources.files(room).joinpath("queries.sql").read_text(encoding="utf-8"))


def _without_comments(body: str) -> str:
    lines = (line for line in body.splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).strip().rstrip(";")
