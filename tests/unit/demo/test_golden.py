"""The golden set is answerable, and its scorer says right and wrong where people would."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import duckdb
import pytest

from tenantry.connectors.sql_guard import Approved, Scope, check
from tenantry.demo.golden import SETS, Rows, golden_questions, golden_tables, same_answer
from tests.sources.analytics import analytics, columns

pytestmark = pytest.mark.req("CON-3")


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with analytics() as connection:
        yield connection


def test_there_are_at_least_sixty_questions_and_each_differs() -> None:
    questions = [each for name in SETS for each in golden_questions(name)]
    assert len({each.question for each in questions}) == len(questions) >= 60
    assert len({each.sql for each in questions}) == len(questions)


def test_every_gold_statement_passes_the_guard_and_finds_something(
    duck: duckdb.DuckDBPyConnection,
) -> None:
    scope = Scope("duckdb", columns(duck, ()).keys(), 10_001)
    for golden in (each for name in SETS for each in golden_questions(name)):
        decided = check(golden.sql, scope)
        assert isinstance(decided, Approved), (golden, decided)
        rows = duck.execute(decided.sql).fetchall()
        assert rows, golden
        assert any(value is not None for row in rows for value in row), golden
        assert same_answer(rows, list(reversed(rows))), golden


def test_no_gold_answer_is_that_of_another_question(duck: duckdb.DuckDBPyConnection) -> None:
    questions = [each for name in SETS for each in golden_questions(name)]
    answers = [(each.question, duck.execute(each.sql).fetchall()) for each in questions]
    for question, rows in answers:
        same = [q for q, other in answers if same_answer(rows, other) and same_answer(other, rows)]
        assert same == [question]


@pytest.mark.parametrize("name", SETS)
def test_the_tables_of_a_set_are_ready_to_upload(name: str) -> None:
    tables = list(golden_tables(name))
    assert len(tables) == {"chinook": 11, "tpch": 8}[name]
    assert all(table.content for table in tables)
    assert {table.media_type for table in tables} <= {"text/csv", "application/vnd.apache.parquet"}


@pytest.mark.parametrize(
    ("gold", "found"),
    [
        ([], []),
        ([(1, "a")], [(1, "a")]),
        ([(1, "a"), (2, "b")], [(2, "b"), (1, "a")]),
        ([(1, "a")], [("a", 1)]),
        ([("a",)], [(7, "a", None)]),
        ([(Decimal("12.50"),)], [("12.5",)]),
        ([(0.1 + 0.2,)], [("0.3",)]),
        ([(date(2020, 1, 2),)], [("2020-01-02T00:00:00",)]),
        ([(None,)], [(None,)]),
        ([(1, 1), (1, 2)], [(2, 1), (1, 1)]),
    ],
)
def test_the_same_answer_counts_whatever_its_form(gold: Rows, found: Rows) -> None:
    assert same_answer(gold, found)


@pytest.mark.parametrize(
    ("gold", "found"),
    [
        ([], [(1,)]),
        ([(1,)], []),
        ([(1,), (2,)], [(1,)]),
        ([(1,), (1,)], [(1,), (2,)]),
        ([("a", 1), ("b", 2)], [("a", 2), ("b", 1)]),
        ([(1, 1)], [(1,)]),
        ([(1.0,)], [(1.001,)]),
        ([(None,)], [(0,)]),
        ([("a",)], [("A",)]),
    ],
)
def test_another_answer_does_not(gold: Rows, found: Rows) -> None:
    assert not same_answer(gold, found)
