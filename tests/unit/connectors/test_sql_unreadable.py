"""What cannot be read is no slip of the pen if it reaches outside, and is one if it does not."""

import re

import pytest

from tenantry.connectors.sql_guard import Approved, Refused, Scope, check
from tenantry.connectors.sql_vocabulary import DIALECTS, Dialect
from tests.unit.connectors.corpora import analytic

pytestmark = pytest.mark.req("CON-3", "SEC-4")
_NAMED = re.compile(r"(?:\b(?:FROM|JOIN)|,)\s+(?:public\.|shop\.)?([a-z_]+)\b", re.IGNORECASE)
_SCHEMAS = {"duckdb": (), "postgres": ("public",), "mysql": ("shop",)}


def _cut(statement: str) -> list[str]:
    """The statement as somebody might leave it: without its end, or with a bracket too many."""
    words = statement.split()
    return [" ".join(words[:-1]), " ".join(words[:-2]), f"{statement} )", f"{statement} WHERE"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_slip_in_an_analytic_statement_is_no_crossing(dialect: Dialect) -> None:
    statements = analytic(dialect)[::4]
    names = {name.lower() for each in statements for name in _NAMED.findall(each)}
    scope = Scope(dialect, [(*_SCHEMAS[dialect], name) for name in names], 11)
    decided = [(cut, check(cut, scope)) for each in statements for cut in _cut(each)]
    assert [d for d in decided if not isinstance(d[1], Approved) and d[1].reason != "syntax"] == []
    assert sum(isinstance(found, Refused) for _, found in decided) > len(statements)


@pytest.mark.parametrize(
    ("statement", "reason", "subject"),
    [
        ("SELECT * FROM orders PROCEDURE ANALYSE()", "function", "ANALYSE"),
        ("SELECT 1 FROM mysql . user WHERE (", "relation", "mysql"),
        ("SELECT 'read_file(' FROM orders WHERE", "syntax", ""),
        ("SELECT EXTRACT(YEAR FROM day) FROM orders WHERE", "syntax", ""),
        ("WITH t(a) AS (SELECT 1) SELECT a FROM t WHERE", "syntax", ""),
    ],
)
def test_what_it_reaches_for_is_named(statement: str, reason: str, subject: str) -> None:
    decided = check(statement, Scope("mysql", [("shop", "orders")], 11))
    assert isinstance(decided, Refused)
    assert (decided.reason, decided.subject) == (reason, subject)


@pytest.mark.parametrize("part", ["a", "a ", "( ", "from ", "'", '"a', "with a ", "extract("])
def test_no_text_takes_long(part: str) -> None:
    decided = check(part * (400_000 // len(part)), Scope("postgres", [("public", "orders")], 11))
    assert isinstance(decided, Refused)
