"""Analytic SQL gives the same rows through the guard as bare, on the engines themselves.

Each statement runs bare, as the guard writes it, and as it writes it for a list of columns, which
puts walls around tables.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from tenantry.connectors.sql_guard import Approved, Relation, Scope, check
from tenantry.connectors.sql_vocabulary import Dialect
from tests.sources.analytics import analytics, columns, copy_to_mariadb, copy_to_postgres
from tests.sources.mariadb import mariadb_server, needs_mariadb
from tests.unit.connectors.corpora import analytic
from tests.worlds import Cluster

pytestmark = pytest.mark.req("CON-3")

_ROWS = 200_000
RunAll = Callable[[Sequence[str]], Sequence[Sequence[Any]]]


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with analytics() as connection:
        yield connection


@pytest.fixture(scope="module")
def postgres(cluster: Cluster, duck: duckdb.DuckDBPyConnection) -> Iterator[RunAll]:
    url = cluster.admin_url(cluster.create_database())
    with psycopg.connect(url, autocommit=True) as connection:
        copy_to_postgres(duck, connection)
        yield lambda texts: [connection.execute(sql.encode()).fetchall() for sql in texts]


def _differences(
    dialect: Dialect, run: RunAll, known: Mapping[Relation, Sequence[str]]
) -> Iterator[str]:
    bare = analytic(dialect)
    guarded: list[tuple[str, str]] = []
    for statement in bare:
        for shown in (None, known):
            decided = check(statement, Scope(dialect, known.keys(), _ROWS, shown))
            if isinstance(decided, Approved):
                guarded.append((statement, decided.sql))
            else:
                yield f"{decided}: {statement}"
    rows = [sorted(map(repr, each)) for each in run([*bare, *(text for _, text in guarded)])]
    expected = dict(zip(bare, rows, strict=False))
    for (statement, text), found in zip(guarded, rows[len(bare) :], strict=True):
        if not found:
            yield f"finds nothing, so proves nothing: {statement}"
        if found != expected[statement]:
            yield f"other rows: {text}"


def test_duckdb_gives_the_same_rows(duck: duckdb.DuckDBPyConnection) -> None:
    known = columns(duck, ())

    def run(texts: Sequence[str]) -> Sequence[Sequence[Any]]:
        return [duck.execute(sql).fetchall() for sql in texts]

    assert list(_differences("duckdb", run, known)) == []


def test_postgresql_gives_the_same_rows(duck: duckdb.DuckDBPyConnection, postgres: RunAll) -> None:
    assert list(_differences("postgres", postgres, columns(duck, ("public",)))) == []


@needs_mariadb
def test_mariadb_gives_the_same_rows(duck: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    with mariadb_server() as server:
        run = copy_to_mariadb(duck, server, tmp_path)
        assert list(_differences("mysql", run, columns(duck, ("shop",)))) == []
