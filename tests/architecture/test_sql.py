"""Where SQL stands, and that all of it is used."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenantry.db.queries import parse
from tests.architecture.source import PACKAGE, modules

_STATEMENT = re.compile(
    r"^\s*(SELECT\s.+\sFROM\s|INSERT\s+INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s|CREATE\s+TABLE\s)",
    re.IGNORECASE | re.DOTALL,
)
_TABLE = re.compile(r"\btenantry\.([a-z_]+)\b(?!\s*\()")
# Reads a few columns of many rooms' tables to count what a tenant keeps, or to show a document's
# title beside its passages; each says so where it stands.
_SHARED = {
    ("metering", "tenants"),
    ("security", "tenants"),
}


def _rooms() -> list[Path]:
    return sorted(file.parent for file in PACKAGE.glob("*/queries.sql"))


def _constants(room: Path) -> set[str]:
    found = set()
    for file in room.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def _asked_for(room: Path) -> set[str]:
    found = set()
    for file in room.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Subscript)
                and isinstance(node.value, ast.Name)
                and node.value.id in {"_SQL", "SQL"}
                and isinstance(node.slice, ast.Constant)
            ):
                found.add(str(node.slice.value))
    return found


@pytest.mark.parametrize("room", _rooms(), ids=lambda room: room.name)
def test_every_query_is_used_by_its_own_room_and_every_use_has_a_query(room: Path) -> None:
    queries = parse((room / "queries.sql").read_text(encoding="utf-8"))
    assert _asked_for(room) <= set(queries)
    assert set(queries) <= _constants(room)


def _built_texts() -> Iterator[tuple[Path, ast.expr]]:
    for file, tree in modules():
        if PACKAGE / "demo" in file.parents:
            continue  # an attacker's client: its SQL is sent to the API, and refused
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr) or (
                isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod)
            ):
                yield file, node


@pytest.mark.req("DB-6")
def test_no_statement_is_built_from_strings() -> None:
    for file, node in _built_texts():
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str | bytes):
                text = part.value if isinstance(part.value, str) else part.value.decode()
                assert not _STATEMENT.match(text), f"{file.name}: {ast.unparse(node)[:120]}"


@pytest.mark.req("DB-1")
def test_each_table_is_named_by_one_rooms_queries() -> None:
    owners: dict[str, set[str]] = {}
    for room in _rooms():
        text = b"\n".join(parse((room / "queries.sql").read_text(encoding="utf-8")).values())
        for table in set(_TABLE.findall(text.decode())):
            if (room.name, table) not in _SHARED:
                owners.setdefault(table, set()).add(room.name)
    shared = {table: rooms for table, rooms in owners.items() if len(rooms) > 1}
    assert shared == {}


@pytest.mark.req("DB-1")
def test_every_query_names_its_schema() -> None:
    words = re.compile(
        r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?:ONLY\s+)?([a-z_]+)\b(?![.(])", re.IGNORECASE
    )
    for room in _rooms():
        for name, query in parse((room / "queries.sql").read_text(encoding="utf-8")).items():
            text = query.decode()
            local = set(re.findall(r"\b([a-z_]+)\s+AS\s+(?:MATERIALIZED\s*)?\(", text))
            local |= set(re.findall(r"\)\s+AS\s+([a-z_]+)", text)) | {
                "set",
                "of",
                "skip",
                "LATERAL",
            }
            found = {w for w in words.findall(text) if w.lower() not in local}
            catalogue = {w for w in found if w.startswith("pg_")}
            distinct = {w for w in found if f"DISTINCT FROM {w}" in text}
            clocks = {w for w in found if re.search(rf"(?:epoch|day) FROM {w}", text)}
            assert not found - catalogue - distinct - clocks, f"{room.name}: {name}"
