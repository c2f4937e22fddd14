"""What every role of the database can do to every table, found out by doing it and undoing it.

Both tenants' rows are there. A statement that a constraint stops passed every guard of ours: yes.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from tenantry.isolation.break_glass import BreakGlass
from tenantry.isolation.statements import RoleDatabase, Statements
from tests.isolation.arena import Arena, EndOfAttackError, Side
from tests.isolation.conftest import statements_as

VERBS = ("select", "insert", "update", "delete")
HEAD = tuple(f"{verb}:{whose}" for verb in VERBS for whose in ("own", "nbr"))
_NO = ("42501", "25006", "TC")
"""Refusals: a privilege or a policy's check; a read-only session; our context functions."""
_PASSED = ("23",)
"""Constraints are looked at after privileges and policies."""
_NOT_WRITABLE = "428C9"
_COLUMNS = """
SELECT c.relname, array_agg(a.attname ORDER BY a.attnum) FROM pg_class AS c
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
   AND a.attgenerated = ''
 WHERE c.relnamespace = 'tenantry'::regnamespace AND c.relkind IN ('r', 'p')
 GROUP BY c.relname ORDER BY c.relname
"""
_PLATFORM_ROWS = (
    "INSERT INTO tenantry.operator_keys (operator_id, key_id, public_id, digest, name, scopes)"
    " SELECT operator_id, gen_random_uuid(), left(md5(operator_id::text), 8),"
    " sha256(operator_id::text::bytea), 'k', '{}' FROM tenantry.operators"
)


Door = Callable[[], Any]
"""Opens a transaction that is undone at its end, and gives its statements."""


def columns_of(arena: Arena) -> dict[str, list[str]]:
    """Every table of ours, with the columns that can be written."""
    with arena.admin() as admin:
        return dict(admin.execute(_COLUMNS).fetchall())


def doors(arena: Arena) -> Mapping[str, Door]:
    """How each actor comes to the database."""
    found: dict[str, Door] = {
        "acme": lambda: _acme(arena),
        "acme-keeping": lambda: _acme(arena, keeping=True),
        "app-no-context": lambda: _as_role(arena, "app", "RESET ROLE"),
        "tenant-no-context": lambda: _as_role(arena, "app", "SET LOCAL ROLE tenantry_tenant"),
        "break-glass-on-acme": lambda: _break_glass(arena),
    }
    for role in ("auth", "audit", "operator", "ledger", "queue"):
        found[role] = partial(_as_role, arena, role, "RESET ROLE")
    return found


@asynccontextmanager
async def _acme(arena: Arena, *, keeping: bool = False) -> AsyncIterator[Statements]:
    async with arena.pool() as pool:
        try:
            async with arena.door(pool).tenant(arena.acme.ctx, keeping=keeping) as tx:
                yield tx
                raise EndOfAttackError
        except EndOfAttackError:
            pass


@asynccontextmanager
async def _as_role(arena: Arena, role: str, first: str) -> AsyncIterator[Statements]:
    async with statements_as(arena.cluster, arena.database, role) as statements:
        await statements.execute(b"BEGIN")
        await statements.execute(first.encode())
        yield statements
        await statements.execute(b"ROLLBACK")


@asynccontextmanager
async def _break_glass(arena: Arena) -> AsyncIterator[Statements]:
    async with arena.pool(role="operator") as operators, arena.pool(role="breakglass") as readers:
        glass = BreakGlass(RoleDatabase(operators), readers)
        why = "To fill the isolation matrix"
        grant = await glass.open(arena.acme.operator_id, arena.acme.tenant, why, 5)
        async with glass.read(grant.token) as reader:
            # Past the reader: the database alone decides, and an error can be undone.
            yield Statements(reader._connection)


async def table_rows(arena: Arena) -> dict[str, tuple[str, ...]]:
    """A row for every table and actor: what each verb does to an own and to a neighbour's row."""
    with arena.admin() as admin:
        admin.execute("DELETE FROM tenantry.operator_keys")
        admin.execute(_PLATFORM_ROWS)
        if admin.execute("SELECT FROM tenantry.price_versions").fetchone() is None:
            _add_prices(admin)
        admin.execute(
            "INSERT INTO tenantry.complexity_weights VALUES ('p', 'm', 1, 1, 1, 1, 1)"
            " ON CONFLICT DO NOTHING"
        )
    rows = {}
    columns = columns_of(arena)
    for actor, door in doors(arena).items():
        async with door() as statements:
            for table, names in columns.items():
                row = []
                for verb in VERBS:
                    for side in (arena.acme, arena.globex):
                        row.append(await _attempt(arena, statements, (table, names, verb), side))
                rows[f"{table} {actor}"] = tuple(row)
    return rows


def _add_prices(admin: psycopg.Connection[Any]) -> None:
    admin.execute("INSERT INTO tenantry.price_versions VALUES (1, now(), 'matrix')")
    admin.execute("INSERT INTO tenantry.prices VALUES (1, 'p', 'm', 'input_token', 1)")


async def _attempt(
    arena: Arena, statements: Statements, what: tuple[str, list[str], str], side: Side
) -> str:
    table, names, verb = what
    if "tenant_id" not in names and side is arena.globex:
        return "-"  # the platform's own table: there is one row for all
    outcomes = set()
    for query, values in _statements(arena, table, names, verb, side):
        outcomes.add(await _outcome(statements, query, values))
        if "yes" in outcomes:
            return "yes"
    return "hidden" if "hidden" in outcomes else "no"


def _statements(
    arena: Arena, table: str, names: list[str], verb: str, side: Side
) -> list[tuple[str, dict[str, Any]]]:
    where, values = "", {}
    if "tenant_id" in names:
        where, values = " WHERE tenant_id = %(whose)s", {"whose": side.tenant}
    name = f"tenantry.{table}"
    if verb == "select":
        # One column is enough to see a row.
        return [(f"SELECT {column} FROM {name}{where}", values) for column in names]
    if verb == "update":
        return [(f"UPDATE {name} SET {column} = {column}{where}", values) for column in names]
    if verb == "delete":
        return [(f"DELETE FROM {name}{where}", values)]
    with arena.admin() as admin:
        found = admin.execute(f"SELECT to_jsonb(t) FROM {name} AS t{where}".encode(), values)
        row = found.fetchone()
    assert row is not None, f"{side.name} has no row in {table}: nothing would be shown"
    listed = ", ".join(names)
    query = (
        f"INSERT INTO {name} ({listed}) OVERRIDING SYSTEM VALUE SELECT {listed}"
        f" FROM pg_catalog.jsonb_populate_record(NULL::{name}, %(row)s)"
    )
    return [(query, {"row": Jsonb(row[0])})]


async def _outcome(statements: Statements, query: str, values: dict[str, Any]) -> str:
    await statements.execute(b"SAVEPOINT before")
    try:
        count = await statements.execute(query.encode(), **values)
    except psycopg.Error as error:
        state = error.sqlstate or ""
        if not state.startswith((*_NO, *_PASSED, _NOT_WRITABLE)):
            raise  # the statement was wrong, so that it shows nothing
        return "yes" if state.startswith(_PASSED) else "no"
    finally:
        await statements.execute(b"ROLLBACK TO SAVEPOINT before")
    return "yes" if count else "hidden"
