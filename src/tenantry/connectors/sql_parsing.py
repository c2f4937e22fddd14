"""Parses SQL within a bounded amount of work (CON-3).

Threat: the grammar is read by trying and going back, and each level of some nestings is tried more
than once: `timestamp(timestamp(…` or `JOIN` without `ON`, a hundred characters long, would take
minutes of a thread that nothing can stop.
Invariant: what a parser goes back over is bounded by the length of the text, whatever the text is.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlglot import Token, exp
from sqlglot.dialects.dialect import Dialect as Grammar
from sqlglot.parser import Parser
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.parsers.mysql import MySQLParser
from sqlglot.parsers.postgres import PostgresParser

from tenantry.connectors.sql_refusals import NotAllowed
from tenantry.connectors.sql_vocabulary import Dialect

# Statements of the corpora go back over half of their tokens at most.
_BACK_PER_TOKEN = 20
_BACK_AT_LEAST = 1_000


class _Bounded(Parser):
    """A parser that ends when it has gone back too often; not by an error that it would catch."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.back_left = 0

    def _retreat(self, index: int) -> None:
        self.back_left -= self._index - index
        if self.back_left < 0:
            message = "The SQL can be read in too many ways; write it with less nesting."
            raise NotAllowed("statement", "nesting", message)
        super()._retreat(index)


class _DuckDB(_Bounded, DuckDBParser):
    pass


class _Postgres(_Bounded, PostgresParser):
    pass


class _MySQL(_Bounded, MySQLParser):
    pass


_PARSERS: Mapping[Dialect, type[_Bounded]] = MappingProxyType(
    {"duckdb": _DuckDB, "postgres": _Postgres, "mysql": _MySQL}
)


def parsed(tokens: list[Token], text: str, dialect: Dialect) -> exp.Expr | None:
    """The tree of one statement.

    Raises:
        NotAllowed: finding out what it says takes too much work.
        SqlglotError: the text cannot be read.
    """
    parser = _PARSERS[dialect](dialect=Grammar.get_or_raise(dialect))
    parser.back_left = max(_BACK_AT_LEAST, _BACK_PER_TOKEN * len(tokens))
    return parser.parse(tokens, text)[0]
