"""What model-written SQL may do, statement by statement, and that results stay what they were."""

from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.connectors.sql_guard import Approved, Refused, Scope, check
from tenantry.connectors.sql_vocabulary import DIALECTS, Dialect
from tests.unit.connectors.statements import legitimate, malformed, sample_tables

_TABLES = (("flights",), ("airlines",), ("weather",), ("invoices",))
_SCOPE = Scope("duckdb", _TABLES, 501)

pytestmark = pytest.mark.req("CON-3")


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        sample_tables(connection)
        yield connection


@pytest.mark.parametrize("statement", legitimate())
def test_an_analytic_statement_gives_the_same_rows_as_without_the_guard(
    duck: duckdb.DuckDBPyConnection, statement: str
) -> None:
    decided = check(statement, _SCOPE)
    assert isinstance(decided, Approved), decided
    expected = duck.execute(statement).fetchall()
    assert duck.execute(decided.sql).fetchall() == expected
    assert expected, "a statement that finds nothing proves nothing"


@pytest.mark.parametrize("statement", malformed())
def test_a_malformed_statement_is_a_mistake_and_not_an_attack(statement: str) -> None:
    decided = check(statement, _SCOPE)
    assert isinstance(decided, Refused)
    assert decided.reason == "syntax"
    assert "\x1b" not in decided.message


def test_there_are_enough_statements() -> None:
    assert len(legitimate()) >= 40


def test_what_runs_is_regenerated_without_comments_or_the_models_own_text() -> None:
    decided = check("select  1 /* DROP TABLE x */ -- y\n;", _SCOPE)
    assert decided == Approved("SELECT 1 LIMIT 501", frozenset())


def test_the_tables_that_a_statement_reads_are_named_as_the_source_has_them() -> None:
    decided = check("WITH x AS (SELECT * FROM FLIGHTS) SELECT * FROM x, Airlines", _SCOPE)
    assert isinstance(decided, Approved)
    assert decided.relations == {("flights",), ("airlines",)}


@pytest.mark.parametrize(
    ("statement", "limit"),
    [
        ("SELECT 1", "LIMIT 501"),
        ("SELECT 1 LIMIT 5", "LIMIT 5"),
        ("SELECT 1 LIMIT 501", "LIMIT 501"),
        ("SELECT 1 LIMIT 502", "LIMIT 501"),
        ("SELECT 1 LIMIT 99999999999999999999999", "LIMIT 501"),
        ("SELECT 1 LIMIT ALL", "LIMIT 501"),
        ("SELECT 1 OFFSET 2", "LIMIT 501 OFFSET 2"),
        ("(SELECT 1 LIMIT 9999)", "LIMIT 501"),
        ("SELECT 1 UNION ALL SELECT 2", "LIMIT 501"),
        ("SELECT 1 UNION ALL (SELECT 2 LIMIT 9999)", "LIMIT 501"),
        ("WITH x AS (SELECT 1 LIMIT 9999) SELECT * FROM x", "LIMIT 501"),
    ],
)
def test_a_limit_is_imposed_on_the_whole_statement(statement: str, limit: str) -> None:
    decided = check(statement, _SCOPE)
    assert isinstance(decided, Approved), decided
    assert decided.sql.endswith(limit)


def test_a_refusal_names_what_was_refused_and_what_there_is_instead() -> None:
    relation = check("SELECT * FROM flight", _SCOPE)
    assert isinstance(relation, Refused)
    assert relation.subject == "flight"
    assert relation.message == (
        "There is no table flight here. Available tables: airlines, flights, invoices, weather."
    )
    function = check("SELECT strftim(day) FROM invoices", _SCOPE)
    assert isinstance(function, Refused)
    assert function.subject == "strftim"
    assert "strftime" in function.message
    mistake = check("SELECT a FROM WHERE", _SCOPE)
    assert isinstance(mistake, Refused)
    assert "line 1" in mistake.message


def test_a_refusal_of_many_tables_names_some_and_counts_the_rest() -> None:
    scope = Scope("duckdb", [(f"t{number:03}",) for number in range(40)], 10)
    decided = check("SELECT * FROM x", scope)
    assert isinstance(decided, Refused)
    assert decided.message.endswith("t029 and 10 more.")


def test_a_refusal_quotes_hostile_names_short_and_printable() -> None:
    decided = check('SELECT * FROM "a\nb\x1b[2J' + "x" * 500 + '"', _SCOPE)
    assert isinstance(decided, Refused)
    assert "\n" not in decided.message
    assert "\x1b" not in decided.message
    assert len(decided.message) < 300


@pytest.mark.parametrize(
    ("dialect", "statement", "allowed"),
    [
        ("postgres", "SELECT * FROM public.orders", True),
        ("postgres", "SELECT * FROM PUBLIC.Orders", True),
        ("postgres", 'SELECT * FROM public."Orders"', False),
        ("postgres", 'SELECT * FROM "public.orders"', False),
        ("postgres", "SELECT * FROM orders", True),
        ("postgres", "SELECT * FROM pg_catalog.pg_user", False),
        ("postgres", "SELECT to_char(now(), 'YYYY') FROM public.orders", True),
        (
            "postgres",
            "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY 1) FROM public.orders",
            True,
        ),
        ("postgres", "SELECT sum(total) FILTER (WHERE total > 1) FROM public.orders", True),
        ("postgres", "SELECT '2020-01-01'::date + interval '1 day'", True),
        ("postgres", "SELECT pg_sleep(10)", False),
        ("postgres", "SELECT pg_read_file('/etc/passwd')", False),
        ("postgres", "SELECT \"pg_read_file\"('/etc/passwd')", False),
        ("postgres", "SELECT set_config('a', 'b', true)", False),
        ("postgres", "SELECT pg_catalog.set_config('a', 'b', true)", False),
        ("postgres", "SELECT lo_export(1, '/tmp/x')", False),
        ("postgres", "SELECT * FROM dblink('x', 'y') AS t(a int)", False),
        ("postgres", "SELECT query_to_xml('SELECT 1', true, false, '')", False),
        ("postgres", "SELECT current_setting('x')", False),
        ("postgres", "SELECT nextval('s')", False),
        ("postgres", "SELECT user", False),
        ("postgres", "SELECT session_user, current_role", False),
        ("postgres", 'SELECT "user" FROM public.orders', True),
        ("postgres", "SELECT 'x'::regclass", False),
        ("postgres", "SELECT * FROM public.orders FOR UPDATE", False),
        ("postgres", "SELECT 1 OPERATOR(pg_catalog.+) 2", False),
        ("postgres", "DO $$BEGIN END$$", False),
        ("postgres", "COPY public.orders TO PROGRAM 'id'", False),
        ("postgres", "WITH x AS (DELETE FROM public.orders RETURNING *) SELECT * FROM x", False),
        ("mysql", "SELECT * FROM shop.orders", True),
        ("mysql", "SELECT * FROM shop.Orders", False),
        ("mysql", "SELECT DATE_FORMAT(NOW(), '%Y') FROM shop.orders", True),
        ("mysql", "SELECT GROUP_CONCAT(a ORDER BY b SEPARATOR ', ') FROM shop.orders", True),
        ("mysql", "SELECT IF(a > 1, 2, 3), IFNULL(a, 0) FROM shop.orders LIMIT 2, 5", True),
        ("mysql", "SELECT /*+ SET_VAR(sql_mode='') */ 1", False),
        ("mysql", "SELECT LOAD_FILE('/etc/passwd')", False),
        ("mysql", "SELECT SLEEP(10)", False),
        ("mysql", "SELECT BENCHMARK(1000000, MD5('x'))", False),
        ("mysql", "SELECT @@version", False),
        ("mysql", "SELECT @x := 1", False),
        ("mysql", "SELECT 1 INTO OUTFILE '/tmp/x'", False),
        ("mysql", "SELECT * FROM mysql.user", False),
        ("mysql", "SELECT GET_LOCK('x', 10)", False),
        ("mysql", "HANDLER shop.orders OPEN", False),
    ],
)
def test_the_guard_reads_every_dialect(dialect: Dialect, statement: str, *, allowed: bool) -> None:
    table = ("public", "orders") if dialect == "postgres" else ("shop", "orders")
    decided = check(statement, Scope(dialect, [table], 11))
    assert isinstance(decided, Approved if allowed else Refused), decided
    if isinstance(decided, Approved):
        assert check(decided.sql, Scope(dialect, [table], 11)) == decided


def test_what_mysql_would_execute_inside_a_comment_is_dropped() -> None:
    statement = "SELECT 1 /*!50000 UNION SELECT password FROM mysql.user */"
    decided = check(statement, Scope("mysql", [], 11))
    assert decided == Approved("SELECT 1 LIMIT 11", frozenset())


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM flights " + "JOIN flights " * 30,
        "SELECT " + "timestamp(" * 30 + "1" + ")" * 30,
        "SELECT " + "int(" * 30 + "1" + ")" * 30,
    ],
)
def test_a_statement_that_can_be_read_in_many_ways_is_refused_soon(
    dialect: Dialect, statement: str
) -> None:
    # Each level doubles the ways at least: unbounded, this takes longer than anyone waits.
    decided = check(statement, Scope(dialect, [("flights",)], 11))
    assert isinstance(decided, Refused)
    assert (decided.reason, decided.subject) == ("statement", "nesting")


@given(st.text(max_size=200))
def test_any_text_gives_a_decision(text: str) -> None:
    assert isinstance(check(text, _SCOPE), Approved | Refused)


_WORDS = st.sampled_from(
    """SELECT FROM WHERE WITH AS RECURSIVE UNION ALL ( ) , * . ; flights globex_orders x y 'a' 1 =
    getenv ('HOME') read_text count(*) IN EXISTS JOIN ON LIMIT 5 " /* */ -- $1 ::
    LATERAL""".split()  # noqa: SIM905 - a list of forty short strings reads worse
)


@given(st.lists(_WORDS, max_size=25))
def test_whatever_is_approved_reads_allowed_tables_only_and_is_stable(words: list[str]) -> None:
    decided = check("SELECT " + " ".join(words), _SCOPE)
    if isinstance(decided, Approved):
        assert decided.relations <= set(_TABLES)
        assert check(decided.sql, _SCOPE) == decided
        assert "read_text" not in decided.sql.lower().replace("'", "") or "(" not in decided.sql
