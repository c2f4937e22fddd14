"""Where the platform's database is: the embedded server, or an existing one by URL.

Both are used in the same way afterwards: a base address without credentials, an administrator's
address for migrations only, and the generated secrets.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tenantry.core.errors import StartupRefused, StoreUnavailable
from tenantry.core.settings import Settings
from tenantry.db.embedded import EmbeddedPostgres
from tenantry.db.secrets import Secrets

_CREDENTIALS = frozenset({"user", "password", "passfile", "service"})


@dataclass(frozen=True, slots=True)
class Store:
    """A reachable database.

    Attributes:
        url: address without user and password; roles add their own.
        admin_url: address of the administrator, for migrations.
        secrets: passwords and keys of this deployment.
        embedded: whether this process brought the server along.
    """

    url: str
    admin_url: str = field(repr=False)
    secrets: Secrets = field(repr=False)
    embedded: bool


@contextmanager
def open_store(settings: Settings, *, create_secrets: bool = False) -> Iterator[Store]:
    """The database of these settings, for as long as the block runs.

    Args:
        settings: `database_url` chooses; empty is the embedded server.
        create_secrets: write the secrets file if there is none; the embedded server always does.

    Raises:
        StartupRefused: the server cannot be started, or there are no secrets.
    """
    if settings.database_url:
        read = Secrets.read_or_create if create_secrets else Secrets.read
        parts = conninfo_to_dict(settings.database_url)
        base = {name: value for name, value in parts.items() if name not in _CREDENTIALS}
        yield Store(
            make_conninfo("", **base), settings.database_url, read(settings.secrets_path), False
        )
        return
    with embedded_server(settings.data_dir, settings.secrets_path) as store:
        yield store


@contextmanager
def embedded_server(data_dir: Path, secrets_path: Path) -> Iterator[Store]:
    """The embedded server below `data_dir`, started or joined.

    Raises:
        StartupRefused: it cannot be started here.
    """
    try:
        secrets = Secrets.read_or_create(secrets_path)
    except OSError as error:
        raise StartupRefused(
            f"Cannot write to {data_dir}: {error.strerror}. Set TENANTRY_DATA_DIR."
        ) from error
    with EmbeddedPostgres(data_dir / "postgres", secrets) as server:
        admin_url = make_conninfo(server.url, user="postgres", password=secrets.admin_password)
        _ensure_database(admin_url)
        yield Store(make_conninfo("", **_without_user(server.url)), admin_url, secrets, True)


def _without_user(url: str) -> dict[str, str | int | None]:
    return {n: v for n, v in conninfo_to_dict(url).items() if n not in _CREDENTIALS}


def _ensure_database(admin_url: str) -> None:
    try:
        with psycopg.connect(admin_url, dbname="postgres", autocommit=True) as connection:
            known = connection.execute("SELECT FROM pg_database WHERE datname = 'tenantry'")
            if known.fetchone() is None:
                connection.execute("CREATE DATABASE tenantry")
    except psycopg.errors.DuplicateDatabase:
        return  # another process of the same first start was quicker
    except psycopg.OperationalError as error:
        raise StoreUnavailable("The embedded PostgreSQL does not answer.") from error
