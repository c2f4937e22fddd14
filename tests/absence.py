"""The database away for one of the server's roles: what it holds breaks, what it asks fails."""

from typing import Any

import psycopg
from psycopg import sql

_DATABASE = "SELECT current_database()"
_BREAK = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s"


def shut_out(admin: psycopg.Connection[Any], role: str) -> None:
    """From now on a role reaches this database no more."""
    _allow(admin, "REVOKE CONNECT ON DATABASE {} FROM {}", role)
    admin.execute(_BREAK + " AND datname = current_database()", [role])


def let_in(admin: psycopg.Connection[Any], role: str) -> None:
    """It is there again."""
    _allow(admin, "GRANT CONNECT ON DATABASE {} TO {}", role)


def _allow(admin: psycopg.Connection[Any], statement: str, role: str) -> None:
    found = admin.execute(_DATABASE).fetchone()
    name = found[0] if found else ""
    admin.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(role)))
