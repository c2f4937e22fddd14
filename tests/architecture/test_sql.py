"""Where SQL stands, that all of it is used, and that none of it is built from strings."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture.source import (
    PACKAGE,
    documented,
    modules,
    queries,
    room_of,
    rooms_with_queries,
    statements,
    tables,
    texts,
)

_STATEMENT = re.compile(
    r"""\s*(
      SELECT\s.*\bFROM\b | SELECT\s+(?!UPDATE\()[\w.]+\( | SELECT\s+\d | WITH\s+\w+\s+AS\s*\(
    | INSERT\s+INTO\s | UPDATE\s+\S+\s+SET\s | DELETE\s+FROM\s | TRUNCATE\s | COPY\s.*\sFROM\s
    | (CREATE|ALTER|DROP)\s+(TABLE|ROLE|POLICY|DATABASE|SCHEMA|FUNCTION|VIEW|INDEX|TYPE)\b
    | GRANT\s+\w+.*\sTO\s | SET\s+(LOCAL|ROLE|SESSION)\b | RESET\s+\w | BEGIN\b[;\s]
    )""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
# Modules whose few statements stand beside their one caller. It may only shrink.
_SPOKEN_HERE = {
    "db/migrate.py": "before the first migration there is no room whose queries these could be",
    "db/store.py": "makes the database in which every room's queries run",
    "isolation/transaction.py": "enters and leaves the context: the sentences are the mechanism",
    "isolation/break_glass.py": "begins its own transaction, read only",
    "connectors/files.py": "a constant that proves that a tenant's file can be read at all",
    "demo/attacks.py": "an attacker's client: its SQL is sent to the API, and refused",
}
_BUILT_HERE = {"demo/attacks.py"}
# A table that a second room's queries may name, and why. It may only shrink.
_SHARED = {
    ("security", "tenants"): "a credential of a suspended tenant is refused in its own lookup",
}
_RUNNERS = frozenset({"rows", "row", "value", "execute", "execute_many", "executemany"})


@pytest.mark.parametrize("room", rooms_with_queries())
def test_every_query_is_used_and_every_use_has_a_query(room: str) -> None:
    asked, spoken = set[str](), set[str]()
    for path, tree in modules().items():
        if room_of(path) == room:
            asked |= set(_subscripts(tree))
            spoken |= {text for _, text in texts(tree)}
    assert asked <= queries(room).keys()
    assert queries(room).keys() <= spoken  # some are named by a constant that is handed on


@pytest.mark.req("DB-1")
def test_a_module_loads_the_queries_of_its_own_room_only() -> None:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "load":
                room = room_of(path).replace("/", ".")
                assert ast.literal_eval(node.args[0]) == f"tenantry.{room}", path


@pytest.mark.req("DB-1")
@pytest.mark.parametrize("room", rooms_with_queries())
def test_every_query_is_one_statement_that_names_its_schema(room: str) -> None:
    for name, text in queries(room).items():
        (tree,) = statements(text)
        for schema, table in tables(tree):
            in_catalogue = schema in {"", "pg_catalog"} and table.startswith("pg_")
            assert schema in {"tenantry", "tenantry_private", "tenantry_queue"} or in_catalogue, (
                f"{name}: {table}"
            )


@pytest.mark.req("DB-1")
def test_each_table_is_named_by_one_rooms_queries() -> None:
    owners: dict[str, set[str]] = {}
    shared = set()
    for room in rooms_with_queries():
        for text in queries(room).values():
            for schema, table in tables(statements(text)[0]):
                if (room, table) in _SHARED:
                    shared.add((room, table))
                elif schema.startswith("tenantry"):
                    owners.setdefault(table, set()).add(room)
    assert {table: rooms for table, rooms in owners.items() if len(rooms) > 1} == {}
    assert shared == _SHARED.keys()


@pytest.mark.req("DB-1")
def test_a_tenant_table_is_made_in_the_file_that_closes_it() -> None:
    for file in (PACKAGE / "db" / "migrations").glob("*.sql"):
        text = file.read_text(encoding="utf-8")
        for table in re.findall(r"^CREATE TABLE (tenantry\.\w+)", text, re.MULTILINE):
            if "tenant_id" not in text.split(f"CREATE TABLE {table} ", 1)[1].split(");", 1)[0]:
                continue
            for clause in (
                f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;",
                f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;",
                f"CREATE POLICY tenant ON {table} ",
            ):
                assert clause in text, f"{file.name}: {clause}"


@pytest.mark.req("DB-6")
def test_statements_stand_in_sql_files_but_for_a_list_that_may_only_shrink() -> None:
    found = set()
    for path, tree in modules().items():
        prose = documented(tree)
        for node, text in texts(tree):
            if id(node) not in prose and _STATEMENT.match(text):
                found.add(path)
    assert found == _SPOKEN_HERE.keys()


@pytest.mark.req("DB-6")
@pytest.mark.req("CON-3")
def test_no_statement_is_built_from_strings() -> None:
    for path, node in _built():
        if path not in _BUILT_HERE:
            for _, text in texts(node):
                assert not _STATEMENT.match(text), f"{path}: {ast.unparse(node)[:120]}"


@pytest.mark.req("DB-6")
def test_what_is_run_is_never_put_together_at_the_call() -> None:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                query = node.args[0]
                if node.func.attr in _RUNNERS:
                    assert not isinstance(query, ast.JoinedStr), f"{path}:{node.lineno}"
                    if path != "isolation/transaction.py":  # puts the signed token, checked, in
                        assert not isinstance(query, ast.BinOp), f"{path}:{node.lineno}"


def _subscripts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Subscript)
            and ast.unparse(node.value) == "_SQL"
            and isinstance(node.slice, ast.Constant)
        ):
            yield str(node.slice.value)


def _built() -> Iterator[tuple[str, ast.expr]]:
    """Texts with something put in: f-strings, `%` and `+` in functions, `.format`, `.join`."""
    for path, tree in modules().items():
        constants = {id(s.value) for s in tree.body if isinstance(s, ast.Assign | ast.AnnAssign)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr) or (
                isinstance(node, ast.BinOp)
                and isinstance(node.op, ast.Add | ast.Mod)
                and id(node) not in constants
            ):
                yield path, node
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"format", "join", "format_map"}
                and isinstance(node.func.value, ast.Constant)
            ):
                yield path, node.func.value
