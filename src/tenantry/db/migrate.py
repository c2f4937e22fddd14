"""Forward-only migrations in plain SQL: checksummed, in order, one process at a time."""

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

from tenantry.core.errors import StartupRefused, StoreUnavailable
from tenantry.db.secrets import Secrets

_LOCK = 7_223_410_000  # any constant; shared by all migrators of a database
_HISTORY = b"""
CREATE TABLE IF NOT EXISTS tenantry_private.migrations (
    name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
GRANT USAGE ON SCHEMA tenantry_private TO tenantry_operator;
GRANT SELECT ON tenantry_private.migrations TO tenantry_operator;
"""
_APPLIED = b"SELECT name, sha256 FROM tenantry_private.migrations"
_RECORD = b"INSERT INTO tenantry_private.migrations (name, sha256) VALUES (%s, %s)"
_INSTALL_KEY = b"""
INSERT INTO tenantry_private.signing_keys (key_id, inner_block, outer_block) VALUES (%s, %s, %s)
ON CONFLICT (key_id) DO UPDATE
   SET inner_block = excluded.inner_block, outer_block = excluded.outer_block, retired_at = NULL
"""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A context signing key as the database stores it; see `isolation.signing`."""

    key_id: str
    inner_block: bytes
    outer_block: bytes


def shipped_migrations() -> dict[str, bytes]:
    """The migrations of this version, in order: file name to SQL."""
    folder = resources.files("tenantry.db").joinpath("migrations")
    files = sorted(folder.iterdir(), key=lambda f: f.name)
    return {f.name: f.read_bytes() for f in files if f.name.endswith(".sql")}


def pending_migrations(operator_url: str) -> list[str]:
    """Migrations of this version that the database lacks; needs no more than the operator role.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    try:
        with psycopg.connect(operator_url, autocommit=True) as connection:
            applied = {row[0] for row in connection.execute(_APPLIED).fetchall()}
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        applied = set()
    except psycopg.OperationalError as error:
        raise StoreUnavailable("The database cannot be reached as tenantry_operator.") from error
    return [name for name in shipped_migrations() if name not in applied]


def migrate(admin_url: str, secrets: Secrets, key: SigningKey) -> list[str]:
    """Bring the database to this version; the names of the migrations applied now.

    Idempotent. Creates roles and extensions as the administrator, everything else as
    `tenantry_owner`, and sets the roles' passwords to those of `secrets`.

    Raises:
        StoreUnavailable: the database cannot be reached with these credentials.
        StartupRefused: an applied migration was edited since, or the server lacks something.
    """
    try:
        with psycopg.connect(admin_url, autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
            return _migrate(connection, secrets, key)
    except psycopg.OperationalError as error:
        raise StoreUnavailable("The database cannot be reached as administrator.") from error
    except psycopg.Error as error:
        reason = error.diag.message_primary or type(error).__name__
        raise StartupRefused(f"Migration failed: {reason}") from error


def _migrate(
    connection: psycopg.Connection[tuple[Any, ...]], secrets: Secrets, key: SigningKey
) -> list[str]:
    if connection.info.server_version < 150_000:
        raise StartupRefused("Tenantry needs PostgreSQL 15 or newer.")
    room = resources.files("tenantry.db")
    with connection.transaction():
        connection.execute(room.joinpath("bootstrap.sql").read_bytes())
        _set_passwords(connection, secrets)
    connection.execute("SET ROLE tenantry_owner")
    connection.execute(_HISTORY)
    applied: dict[str, str] = dict(connection.execute(_APPLIED).fetchall())
    done = []
    for name, text in shipped_migrations().items():
        digest = hashlib.sha256(text).hexdigest()
        if name in applied:
            if applied[name] != digest:
                raise StartupRefused(f"Migration {name} was changed after it was applied.")
            continue
        with connection.transaction():
            connection.execute(text)
            connection.execute(_RECORD, [name, digest])
        done.append(name)
    connection.execute(room.joinpath("hardening.sql").read_bytes())
    connection.execute(_INSTALL_KEY, [key.key_id, key.inner_block, key.outer_block])
    return done


def _set_passwords(connection: psycopg.Connection[tuple[Any, ...]], secrets: Secrets) -> None:
    for role, password in (
        ("tenantry_app", secrets.app_password),
        ("tenantry_auth", secrets.auth_password),
        ("tenantry_audit", secrets.audit_password),
        ("tenantry_operator", secrets.operator_password),
        ("tenantry_breakglass", secrets.breakglass_password),
        ("tenantry_ledger", secrets.ledger_password),
        ("tenantry_queue", secrets.queue_password),
    ):
        # Hashed here, so that no password in clear reaches the server's log.
        verifier = connection.pgconn.encrypt_password(
            password.encode(), role.encode(), b"scram-sha-256"
        )
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
        connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier.decode())))
