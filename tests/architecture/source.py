"""The package's own source: syntax trees of its modules, and the statements of its rooms."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import sqlglot
from sqlglot import exp

from tenantry.db.queries import parse

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "src" / "tenantry"


@cache
def modules() -> Mapping[str, ast.Module]:
    """Every module of the package, by its path below it, such as `db/pool.py`."""
    return MappingProxyType(
        {
            file.relative_to(PACKAGE).as_posix(): ast.parse(file.read_text(encoding="utf-8"))
            for file in sorted(PACKAGE.rglob("*.py"))
        }
    )


@cache
def rooms_with_queries() -> tuple[str, ...]:
    """Rooms that have a queries.sql, by their paths, such as `db` or `security/vault`."""
    found = PACKAGE.rglob("queries.sql")
    return tuple(sorted(file.parent.relative_to(PACKAGE).as_posix() for file in found))


def room_of(path: str) -> str:
    """The innermost room with queries that a module is in; its first folder if there is none."""
    inside = [room for room in rooms_with_queries() if path.startswith(f"{room}/")]
    return max(inside, key=len, default=path.split("/")[0])


@cache
def queries(room: str) -> Mapping[str, bytes]:
    """The named statements of a room."""
    return parse((PACKAGE / room / "queries.sql").read_text(encoding="utf-8"))


def statements(text: bytes) -> list[exp.Expr]:
    """The text as PostgreSQL's grammar reads it, one tree a statement."""
    return [tree for tree in sqlglot.parse(text.decode(), read="postgres") if tree]


def tables(tree: exp.Expr) -> set[tuple[str, str]]:
    """Schema (may be empty) and name of each stored table that a statement names."""
    local = {with_.alias for with_ in tree.find_all(exp.CTE)}
    return {
        (table.db, table.name)
        for table in tree.find_all(exp.Table)
        if isinstance(table.this, exp.Identifier) and (table.db or table.name not in local)
    }


def documented(tree: ast.Module) -> set[int]:
    """Identities of the nodes that are docstrings: text for people."""
    owners = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return {
        id(owner.body[0].value)
        for owner in ast.walk(tree)
        if isinstance(owner, owners) and owner.body and isinstance(owner.body[0], ast.Expr)
    }


def texts(tree: ast.AST) -> Iterator[tuple[ast.Constant, str]]:
    """Every constant text, also of bytes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            value = node.value
            yield node, value if isinstance(value, str) else value.decode("utf-8", "replace")
