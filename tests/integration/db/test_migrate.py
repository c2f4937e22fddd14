"""Migrations: idempotent, never edited, one migrator at a time, and no secret in the log."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tenantry.core.errors import StartupRefused, StoreUnavailable
from tenantry.db.migrate import SigningKey, migrate, pending_migrations, shipped_migrations
from tenantry.isolation.signing import ContextSigner
from tests.worlds import Cluster

_SHAPE = """
SELECT md5(string_agg(row::text, '|' ORDER BY row::text)) FROM (
    SELECT c.oid::regclass::text, a.attname::text, a.atttypid::regtype::text, a.attstattarget,
           c.relrowsecurity, c.relforcerowsecurity, c.relacl::text
      FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
     WHERE c.relnamespace IN ('tenantry'::regnamespace, 'tenantry_private'::regnamespace)
    UNION ALL
    SELECT p.polname, p.polrelid::regclass::text, pg_get_expr(p.polqual, p.polrelid), 0, true, true,
           p.polroles::text
      FROM pg_policy AS p
) AS row
"""


@pytest.fixture
def blank(cluster: Cluster) -> Iterator[str]:
    """A database that was never migrated."""
    name = "blank_db"
    with psycopg.connect(cluster.admin_url("postgres"), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        admin.execute(f"CREATE DATABASE {name}".encode())
    yield name
    cluster.drop_database(name)


@pytest.fixture
def database(cluster: Cluster) -> Iterator[str]:
    name = cluster.create_database()
    yield name
    cluster.drop_database(name)


def run(cluster: Cluster, database: str, signer: ContextSigner | None = None) -> list[str]:
    """Migrate as the administrator does."""
    signer = signer or cluster.signer
    key = SigningKey(signer.key_id, *signer.blocks())
    return migrate(cluster.admin_url(database), cluster.secrets, key)


def ask(cluster: Cluster, database: str, query: str) -> object:
    with psycopg.connect(cluster.admin_url(database), autocommit=True) as admin:
        row = admin.execute(query.encode()).fetchone()
        return row[0] if row else None


@pytest.mark.req("DB-1")
def test_every_migration_is_applied_once_in_order(cluster: Cluster, blank: str) -> None:
    names = list(shipped_migrations())
    assert names == sorted(names)
    assert run(cluster, blank) == names
    assert run(cluster, blank) == []
    applied = ask(
        cluster, blank, "SELECT array_agg(name ORDER BY name) FROM tenantry_private.migrations"
    )
    assert applied == names


@pytest.mark.req("DB-1")
def test_migrating_again_changes_nothing(cluster: Cluster, database: str) -> None:
    before = ask(cluster, database, _SHAPE)
    for _ in range(2):
        assert run(cluster, database) == []
    assert ask(cluster, database, _SHAPE) == before


@pytest.mark.req("DB-1")
def test_edited_migration_is_refused(cluster: Cluster, database: str) -> None:
    with psycopg.connect(cluster.admin_url(database), autocommit=True) as admin:
        admin.execute(
            "UPDATE tenantry_private.migrations SET sha256 = %s WHERE name = '0002_identity.sql'",
            [hashlib.sha256(b"something else").hexdigest()],
        )
    with pytest.raises(StartupRefused, match=r"0002_identity\.sql was changed"):
        run(cluster, database)


@pytest.mark.req("DB-1")
def test_migration_that_fails_leaves_nothing_behind(
    cluster: Cluster, blank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {
        **shipped_migrations(),
        "9999_broken.sql": b"CREATE TABLE tenantry.half (); SELECT 1/0",
    }
    monkeypatch.setattr("tenantry.db.migrate.shipped_migrations", lambda: broken)
    with pytest.raises(StartupRefused, match="division by zero"):
        run(cluster, blank)
    assert ask(cluster, blank, "SELECT to_regclass('tenantry.half') IS NULL")
    assert (
        ask(cluster, blank, "SELECT count(*) FROM tenantry_private.migrations") == len(broken) - 1
    )


@pytest.mark.req("DB-1")
def test_migrators_of_one_database_take_turns(cluster: Cluster, blank: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: run(cluster, blank), range(4)))
    assert sorted(done, key=len) == [[], [], [], list(shipped_migrations())]


@pytest.mark.req("DB-1")
def test_migrators_of_two_databases_do_not_disturb_each_other(cluster: Cluster) -> None:
    """Roles are shared by all databases of a server; their rows must not be changed at once."""
    names = [cluster.create_database() for _ in range(3)]
    try:
        with ThreadPoolExecutor(6) as threads:
            assert list(threads.map(lambda n: run(cluster, names[n % 3]), range(18))) == [[]] * 18
    finally:
        for name in names:
            cluster.drop_database(name)


@pytest.mark.req("DB-4")
def test_signing_key_is_installed_and_replaced(cluster: Cluster, database: str) -> None:
    count = "SELECT count(*) FROM tenantry_private.signing_keys WHERE retired_at IS NULL"
    assert ask(cluster, database, count) == 1
    run(cluster, database, ContextSigner(b"n" * 32, "k2"))
    assert ask(cluster, database, count) == 2
    run(cluster, database, ContextSigner(b"m" * 32, "k2"))
    assert ask(cluster, database, count) == 2


@pytest.mark.req("DB-5")
def test_passwords_reach_the_server_only_as_verifiers(cluster: Cluster, database: str) -> None:
    """In clear they would stand in the server's log of statements."""
    settings = {"log_statement": "all", "log_min_messages": "log"}
    with psycopg.connect(cluster.admin_url(database), autocommit=True) as admin:
        for name, value in settings.items():
            admin.execute(f"ALTER DATABASE {database} SET {name} = '{value}'".encode())
    run(cluster, database)
    log = ask(cluster, "postgres", "SELECT pg_read_file('server.log')")
    assert isinstance(log, str)
    assert 'ALTER ROLE "tenantry_app" PASSWORD' in log
    assert cluster.secrets.app_password not in log
    assert cluster.secrets.operator_password not in log


@pytest.mark.req("DB-5")
def test_operator_sees_what_is_pending_and_needs_no_more(cluster: Cluster, blank: str) -> None:
    def url(database: str) -> str:
        return psycopg.conninfo.make_conninfo(
            cluster.url(database),
            user="tenantry_operator",
            password=cluster.secrets.operator_password,
        )

    assert pending_migrations(url(blank)) == list(shipped_migrations())
    run(cluster, blank)
    assert pending_migrations(url(blank)) == []


def test_unreachable_database_is_named_as_such(cluster: Cluster) -> None:
    nowhere = psycopg.conninfo.make_conninfo("", host="/nowhere", dbname="x", user="postgres")
    key = SigningKey(cluster.signer.key_id, *cluster.signer.blocks())
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        migrate(nowhere, cluster.secrets, key)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        pending_migrations(nowhere)
