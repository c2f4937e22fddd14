"""Hidden columns do not exist for a query, whatever it does; names of them are refused."""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.connectors.sql_guard import Approved, Refused, Relation, Scope, check
from tenantry.connectors.sql_vocabulary import Dialect

pytestmark = pytest.mark.req("CON-3")

_SHOWN: Mapping[Relation, Sequence[str]] = {
    ("orders",): ("id", "total"),
    ("customers",): ("id", "name"),
}
_SCOPE = Scope("duckdb", _SHOWN.keys(), 101, _SHOWN)
_SHOP: Mapping[Relation, Sequence[str]] = {
    ("public", "orders"): ("id", "total"),
    ("public", "customers"): ("id", "name"),
}
_SECRET = "SECRET-1"


def smuggling() -> list[str]:
    """Statements that try to get at hidden columns without naming them."""
    text = Path(__file__).with_name("smuggling.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(
            f"""CREATE TABLE orders AS SELECT 1 AS id, '{_SECRET}' AS secret, 9.5 AS total;
            CREATE TABLE customers AS SELECT 1 AS id, 'Initech' AS name, '{_SECRET}' AS secret"""
        )
        yield connection


def _rows(duck: duckdb.DuckDBPyConnection, sql: str) -> str:
    try:
        return repr(duck.execute(sql).fetchall())
    except duckdb.Error as error:
        return f"{type(error).__name__}"


def test_nothing_smuggles_a_hidden_column_out(duck: duckdb.DuckDBPyConnection) -> None:
    ran = 0
    for statement in smuggling():
        decided = check(statement, _SCOPE)
        if isinstance(decided, Approved):
            rows = _rows(duck, decided.sql)
            ran += not rows.endswith("Exception")
            # A guess of the author's own may come back; what the table holds may not.
            assert _SECRET not in rows or _SECRET in statement, decided.sql
    assert ran >= 25


def test_the_statements_are_dangerous_without_the_guard(duck: duckdb.DuckDBPyConnection) -> None:
    assert sum(_SECRET in _rows(duck, statement) for statement in smuggling()) >= 30


def test_a_guess_at_a_hidden_column_is_no_oracle(duck: duckdb.DuckDBPyConnection) -> None:
    join = "SELECT count(*) FROM orders NATURAL JOIN (SELECT 1 AS id, '{}' AS secret) AS guess"
    counts = set()
    for guess in (_SECRET, "wrong"):
        decided = check(join.format(guess), _SCOPE)
        assert isinstance(decided, Approved)
        counts.add(_rows(duck, decided.sql))
    assert counts == {"[(1,)]"}


_PARTS = (
    "SELECT", "*", "FROM", "(", ")", ",", "o", "x", "orders", "customers", "secret", "id", "total",
    "o.secret", "o.*", "x.*", "AS", "JOIN", "NATURAL", "USING", "ON", "LATERAL", "WITH", "UNION",
    "ALL", "WHERE", "GROUP", "BY", "ORDER", "HAVING", "max(", "count(", "'x'", "1", "=", "EXISTS",
)  # fmt: skip


@given(st.lists(st.sampled_from(_PARTS), max_size=18), st.integers(0, 2**32))
def test_no_mixture_of_words_gets_it_out(
    duck: duckdb.DuckDBPyConnection, words: list[str], seed: int
) -> None:
    endings = ("", " FROM orders o", " FROM orders, customers x", " FROM (SELECT 1 AS secret) AS o")
    statement = " ".join(["SELECT", *words]) + random.Random(seed).choice(endings)
    decided = check(statement, _SCOPE)
    if isinstance(decided, Approved):
        assert _SECRET not in _rows(duck, decided.sql)
        assert check(decided.sql, _SCOPE) == decided


@pytest.mark.parametrize(
    ("statement", "written"),
    [
        (
            "SELECT * FROM orders",
            'SELECT * FROM (SELECT "id", "total" FROM "public"."orders") AS "orders"',
        ),
        ("SELECT id FROM orders o WHERE o.total > 1", None),
        ("SELECT o.id, c.name FROM orders o JOIN customers c USING (id) ORDER BY name", None),
        ("SELECT count(*) FROM orders GROUP BY total HAVING sum(id) > 1", None),
        (
            "SELECT o.id FROM orders o WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = o.id)",
            None,
        ),
        ("SELECT id, sum(total) AS secret FROM orders GROUP BY id ORDER BY secret", None),
        ("WITH x AS (SELECT id AS secret FROM orders) SELECT secret FROM x", None),
        ("SELECT public.orders.id FROM public.orders", None),
    ],
)
def test_only_tables_that_show_too_much_get_a_wall(statement: str, written: str | None) -> None:
    decided = check(statement, Scope("postgres", _SHOP.keys(), 11, _SHOP))
    assert isinstance(decided, Approved), decided
    if written is None:
        assert "(SELECT " not in decided.sql.replace("EXISTS(SELECT 1", "").replace(
            "AS (SELECT id", ""
        )
    else:
        assert decided.sql == f"{written} LIMIT 11"


@pytest.mark.parametrize(
    ("statement", "written"),
    [
        ("SELECT name FROM orders o, customers", 'SELECT "customers".name FROM'),
        ("SELECT total FROM orders AS o JOIN customers ON true", "SELECT o.total FROM"),
        ("SELECT c.*, count(*) FROM customers c GROUP BY c.id", 'SELECT c."id", c."name", COUNT('),
        ("SELECT *, 1 AS n FROM orders GROUP BY id", 'SELECT "orders"."id", "orders"."total", 1'),
    ],
)
def test_names_are_written_out_where_a_hidden_one_could_disturb(
    statement: str, written: str
) -> None:
    decided = check(statement, Scope("postgres", _SHOP.keys(), 11, _SHOP))
    assert isinstance(decided, Approved), decided
    assert decided.sql.startswith(written)
    assert "(SELECT" not in decided.sql


def test_a_name_that_a_result_has_too_keeps_its_meaning_behind_a_wall() -> None:
    statement = "SELECT sum(o.total) AS name FROM orders o, customers GROUP BY name"
    decided = check(statement, Scope("postgres", _SHOP.keys(), 11, _SHOP))
    assert isinstance(decided, Approved), decided
    assert 'FROM (SELECT "id", "total" FROM "public"."orders") AS o' in decided.sql


def test_a_refusal_names_the_column_and_those_there_are() -> None:
    decided = check("SELECT o.secret FROM orders AS o", _SCOPE)
    assert decided == Refused(
        "column", "o.secret", "There is no column o.secret here. Available columns: id, total."
    )


def test_a_table_without_visible_columns_can_be_counted_and_no_more() -> None:
    scope = Scope("duckdb", [("orders",)], 11, {})
    assert isinstance(check("SELECT count(*) FROM orders", scope), Approved)
    for statement in ("SELECT * FROM orders", "SELECT id FROM orders", "SELECT o FROM orders AS o"):
        decided = check(statement, scope)
        assert isinstance(decided, Refused)
        assert decided.reason == "column"


@pytest.mark.parametrize(
    ("dialect", "statement", "written"),
    [
        ("postgres", "SELECT id FROM orders", '"public"."orders"'),
        ("postgres", "SELECT id FROM Public.ORDERS", '"public"."orders"'),
        ("mysql", "SELECT id FROM orders", "`public`.`orders`"),
        ("mysql", "SELECT id FROM `public`.orders", "`public`.`orders`"),
    ],
)
def test_a_table_is_named_in_full_so_that_no_search_path_decides(
    dialect: Dialect, statement: str, written: str
) -> None:
    decided = check(statement, Scope(dialect, _SHOP.keys(), 11))
    assert decided == Approved(
        f"SELECT id FROM {written} LIMIT 11", frozenset({("public", "orders")})
    )


def test_a_name_that_two_schemas_have_must_be_written_in_full() -> None:
    scope = Scope("postgres", [("public", "orders"), ("old", "orders")], 11)
    decided = check("SELECT * FROM orders", scope)
    assert isinstance(decided, Refused)
    assert decided.message == "orders could be old.orders, public.orders: write its name in full."
    assert isinstance(check("SELECT * FROM old.orders", scope), Approved)


@pytest.mark.parametrize("name", ["pg_read_file", '"pg_read_file"', "lo_import", "my_function"])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT ('/etc/passwd'::text).{}",
        "SELECT (name).{} FROM customers",
        "SELECT x.{} FROM unnest(ARRAY['/etc/passwd']) AS x",
        "SELECT x.{} FROM lower('/ETC') AS x",
        "SELECT y.{} FROM customers c, LATERAL lower(c.name) AS y",
    ],
)
def test_no_function_is_called_in_postgresql_as_if_it_were_a_column(
    statement: str, name: str
) -> None:
    for columns in (None, _SHOP):
        decided = check(statement.format(name), Scope("postgres", _SHOP.keys(), 11, columns))
        assert isinstance(decided, Refused)
        assert decided.reason == "function"
