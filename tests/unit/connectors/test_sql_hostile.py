"""Hundreds of hostile statements over the dialects: each refused for what is hostile about it.

They cover the classes of P2SQL injection (arXiv 2308.01990) and those found in other products.
"""

from collections.abc import Mapping, Sequence
from typing import get_args

import pytest

from tenantry.connectors.sql_guard import Approved, Reason, Refused, Relation, Scope, check
from tenantry.connectors.sql_vocabulary import DIALECTS, Dialect
from tests.unit.connectors.corpora import all_analytic, hostile

pytestmark = pytest.mark.req("CON-3")


def _shop(schema: str) -> Mapping[Relation, Sequence[str]]:
    return {
        (schema, "orders"): ("id", "customer_id", "total", "day"),
        (schema, "customers"): ("id", "name"),
    }


_SHOWN: Mapping[Dialect, Mapping[Relation, Sequence[str]]] = {
    "duckdb": {
        ("flights",): ("year", "month", "flight", "carrier", "origin"),
        ("airlines",): ("carrier", "name"),
        ("weather",): ("origin", "precip"),
        ("invoices",): ("day", "total"),
    },
    "postgres": _shop("public"),
    "mysql": _shop("shop"),
}


def _check(dialect: Dialect, statement: str, *, columns: bool) -> Approved | Refused:
    shown = _SHOWN[dialect]
    return check(statement, Scope(dialect, shown.keys(), 11, shown if columns else None))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_hostile_statement_is_refused_for_its_reason(dialect: Dialect) -> None:
    wrong = []
    for each in hostile():
        if each.dialect == dialect:
            decided = _check(dialect, each.statement, columns=True)
            if not isinstance(decided, Refused) or decided.reason != each.reason:
                wrong.append((each, decided))
    assert wrong == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_not_about_columns_is_refused_without_a_list_of_them(dialect: Dialect) -> None:
    allowed = [
        each
        for each in hostile()
        if each.dialect == dialect
        and each.reason != "column"
        and isinstance(_check(dialect, each.statement, columns=False), Approved)
    ]
    assert allowed == []


def test_every_refusal_names_what_it_refuses_and_helps() -> None:
    for each in hostile():
        decided = _check(each.dialect, each.statement, columns=True)
        assert isinstance(decided, Refused)
        assert decided.message
        assert bool(decided.subject) == (decided.reason != "syntax"), decided


def test_there_are_enough_statements_of_each_kind() -> None:
    found = hostile()
    assert len({(each.dialect, each.statement) for each in found}) == len(found) >= 600
    for dialect in DIALECTS:
        reasons = {each.reason for each in found if each.dialect == dialect}
        assert reasons >= set(get_args(Reason)) - {"syntax"}
    assert len({statement for _, statement in all_analytic()}) >= 200


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT id /*! , secret */ FROM orders",
        "SELECT id /*!50000 , secret */ FROM orders",
        "SELECT id /*M! , secret */ FROM orders",
        "SELECT id /*M!100000 , secret */ FROM orders",
        "SELECT id FROM orders /*! WHERE SLEEP(5) */",
        "SELECT id FROM orders /*!INTO OUTFILE '/tmp/secret'*/",
        "SELECT id FROM orders -- \n/*! UNION SELECT secret FROM orders */",
        "SELECT id FROM orders # /* \n/*!99999 UNION SELECT secret FROM orders */",
    ],
)
def test_what_mysql_executes_inside_comments_never_reaches_it(statement: str) -> None:
    decided = _check("mysql", statement, columns=True)
    assert isinstance(decided, Approved), decided
    assert decided.sql == "SELECT id FROM `shop`.`orders` LIMIT 11"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (r"'a\'b'", "'a''b'"),
        (r"'a\\'", r"'a\\'"),
        (r"'a\\\' OR 1=1'", r"'a\\'' OR 1=1'"),
        (r'"double \" quoted"', "'double \" quoted'"),
        ("'it''s'", "'it''s'"),
        (r"'100\%'", r"'100\\%'"),
        (r"'a\' , LOAD_FILE(', 'b'", "'a'' , LOAD_FILE(', 'b'"),
    ],
)
def test_texts_are_written_for_the_modes_that_mysql_sessions_are_pinned_to(
    text: str, written: str
) -> None:
    decided = check(f"SELECT {text}", Scope("mysql", [], 11))
    assert decided == Approved(f"SELECT {written} LIMIT 11", frozenset())
