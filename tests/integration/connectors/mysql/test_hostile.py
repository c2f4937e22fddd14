"""Statements that reach outside never run at the server, whatever they are dressed as (CON-3).

The server's own log of statements is the witness: nothing of a refused statement is in it, and of a
disguised one only what the guard wrote anew.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenantry.connectors.base import QueryLimits, Source
from tenantry.core.errors import QueryRefused
from tests.integration.connectors.databases import Desk
from tests.integration.connectors.mysql.conftest import Shop
from tests.sources.mariadb import MariaDB, needs_mariadb

pytestmark = needs_mariadb
_LIMITS = QueryLimits(timeout_s=5)
_ACCESS = {"tables": {"orders": "*", "customers": "*"}}
_LITERAL = re.compile(r"'(?:[^'\\]|''|\\.)*'|`(?:[^`]|``)*`")
_OWN = ("SET NAMES", "SET SESSION TRANS", "SELECT CURRENT_USER", "START TRANS", "SHOW GRANTS")


def _statements() -> Iterator[tuple[str, str]]:
    kind = ""
    for line in Path(__file__).with_name("hostile.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            kind = line.strip("[]")
        elif line and not line.startswith("#"):
            yield kind, line


_OPEN = [sql for kind, sql in _statements() if kind != "disguise"]
_DISGUISED = [sql for kind, sql in _statements() if kind == "disguise"]


@pytest.fixture
async def source(desk: Desk, shop: Shop) -> Source:
    """The shop's orders and customers; not its salaries."""
    shop.server.sql(
        "CREATE FUNCTION IF NOT EXISTS wages() RETURNS int "
        "RETURN (SELECT MAX(amount) FROM salaries)",
        shop.database,
    )
    source = await desk.source(shop, access=_ACCESS)
    await source.describe()
    return source


class _Witness:
    """What the server was asked to run, since this began."""

    def __init__(self, server: MariaDB) -> None:
        self._server = server
        self._file = server.folder / "data" / "witness.log"
        server.sql("SET GLOBAL general_log_file = 'witness.log'; SET GLOBAL general_log = ON")
        self._from = self._file.stat().st_size

    def heard(self) -> list[str]:
        """Every statement, in order; ends the watch."""
        self._server.sql("SET GLOBAL general_log = OFF")
        text = self._file.read_bytes()[self._from :].decode("utf-8", "replace")
        lines = [line.partition("Query\t")[2] for line in text.splitlines() if "Query\t" in line]
        return [line for line in lines if "general_log" not in line]

    def asked(self) -> list[str]:
        """Statements of the model, in order, without the session's own; ends the watch."""
        return [line for line in self.heard() if not line.startswith(_OWN)]


@pytest.mark.req("CON-3", "SEC-4")
async def test_nothing_of_a_hostile_statement_reaches_the_server(
    desk: Desk, shop: Shop, source: Source
) -> None:
    before = shop.server.sql("CHECKSUM TABLE orders, salaries", shop.database)
    witness = _Witness(shop.server)
    for sql in _OPEN:
        with pytest.raises(QueryRefused):
            await source.query(sql, _LIMITS)
    assert witness.asked() == []
    assert shop.server.sql("CHECKSUM TABLE orders, salaries", shop.database) == before


@pytest.mark.req("CON-3", "SEC-4")
async def test_of_a_disguised_statement_only_what_the_guard_wrote_reaches_the_server(
    shop: Shop, source: Source
) -> None:
    witness, approved = _Witness(shop.server), list[str]()
    for sql in _DISGUISED:
        try:
            result = await source.query(sql, _LIMITS)
        except QueryRefused:
            continue
        approved.append(result.sql)
        assert "4711" not in str(result.rows)
    asked = witness.asked()
    assert len(approved) > 10
    assert asked == [
        said for sql in approved for said in (f"EXPLAIN FORMAT=TRADITIONAL {sql}", sql)
    ]
    for statement in asked:
        bare = _LITERAL.sub("''", statement)
        assert not re.search(r"salaries|sleep|outfile|drop|/\*|--|#|;", bare, re.IGNORECASE)


@pytest.mark.req("CON-3")
async def test_a_statement_runs_in_a_read_only_transaction_after_its_plan(
    shop: Shop, source: Source
) -> None:
    await source.query("SELECT 1 AS one", _LIMITS)
    witness = _Witness(shop.server)
    sql = (await source.query("SELECT id FROM orders", _LIMITS)).sql
    heard = witness.heard()
    at = heard.index(sql)
    assert heard[at - 2 : at] == [
        "START TRANSACTION READ ONLY",
        f"EXPLAIN FORMAT=TRADITIONAL {sql}",
    ]
    assert "SET SESSION TRANSACTION READ ONLY" in heard[at:]  # and for whoever comes next


@pytest.mark.req("SEC-4")
async def test_each_refusal_is_recorded_with_what_was_named(desk: Desk, source: Source) -> None:
    for sql, named in (
        ("SELECT * FROM salaries", "salaries"),
        ("SELECT LOAD_FILE('/etc/passwd')", "LOAD_FILE"),
        ("SELECT SLEEP(5)", "SLEEP"),
        ("DROP TABLE orders", "DROP"),
        ("SELECT id FROM orders INTO OUTFILE '/tmp/x'", "INTO"),
        ("SELECT id FROM orders PROCEDURE ANALYSE()", "ANALYSE"),  # only the server could read it
    ):
        known = len(await desk.world.audit_events(desk.world.acme))
        with pytest.raises(QueryRefused):
            await source.query(sql, _LIMITS)
        (event,) = (await desk.world.audit_events(desk.world.acme))[known:]
        assert event["action"] == "query.refused"
        assert event["detail"][event["detail"]["reason"]] == named


def test_there_are_enough_hostile_statements() -> None:
    assert len(_OPEN) + len(_DISGUISED) >= 140
