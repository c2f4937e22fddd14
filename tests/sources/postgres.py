"""A PostgreSQL server that stands for a tenant's: TLS, a checked name, logins with passwords."""

import asyncio
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tenantry.db.embedded import Account, EmbeddedPostgres
from tenantry.db.secrets import Secrets
from tests.scratch import remove, scratch
from tests.sources.certificates import Authority
from tests.sources.tls_front import tls_front

HOST = "pg.acme.test"
"""The name in the server's certificate."""
PORT = 5432
_HBA = """\
local all all scram-sha-256
host all open_door 127.0.0.0/8 trust
host all in_the_clear 127.0.0.0/8 password
host all all 127.0.0.0/8 scram-sha-256
"""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server.

    Attributes:
        address: on the loopback network, this server's own.
        ca: PEM text of the authority that signed its certificate, which is for `HOST`.
    """

    address: str
    ca: str
    url: str
    password: str

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements as the administrator; the rows of the last."""
        conninfo = make_conninfo(self.url, dbname=database, password=self.password)
        with psycopg.connect(conninfo, autocommit=True) as admin:
            cursor = admin.execute(statement.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def create_database(self, options: str = "") -> str:
        """A fresh database; its name."""
        name = f"d_{secrets.token_hex(6)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy {options}")
        return name

    def create_login(
        self, database: str, rights: str = "SELECT", options: str = "", name: str = ""
    ) -> tuple[str, str]:
        """A login with `rights` on every table of `public`; its name and password."""
        user, password = name or f"u_{secrets.token_hex(6)}", secrets.token_hex(12)
        literal = sql.Literal(password).as_string()
        self.sql(f"CREATE ROLE {user} LOGIN {options} PASSWORD {literal}")
        if rights:
            self.sql(f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {user}", database)
        return user, password

    def running(self, like: str) -> bool:
        """Whether a statement that contains `like` runs just now."""
        found = self.sql(
            "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() "
            f"AND query LIKE '%{like}%'"
        )
        return bool(found)

    async def comes_true(self, like: str, *, running: bool) -> bool:
        """Wait until a statement that contains `like` runs there, or until none does."""
        for _ in range(200):
            if await asyncio.to_thread(self.running, like) == running:
                return True
            await asyncio.sleep(0.02)
        return False


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server and let go of it afterwards."""
    folder = scratch("postgres")
    try:
        authority = Authority.create()
        certificate, key, hba = folder / "server.crt", folder / "server.key", folder / "hba.conf"
        authority.issue(HOST, certificate, key)
        hba.write_text(_HBA)
        account = Account.choose()
        if account.uid is not None:
            shutil.chown(hba, account.uid, account.gid)
        # Addresses of its own, so that servers of other processes can have the same port.
        net = ".".join(str(1 + secrets.randbelow(250)) for _ in range(2))
        inner, address = f"127.{net}.1", f"127.{net}.2"
        options = (
            f"-c listen_addresses={inner} -c hba_file={hba} -c fsync=off -c full_page_writes=off "
            "-c autovacuum=off"
        )
        kept = Secrets.read_or_create(folder / "secrets.json")
        with (
            EmbeddedPostgres(folder / "postgres", kept, options) as server,
            tls_front(address, inner, PORT, certificate, key),
        ):
            yield PostgresServer(address, authority.certificate, server.url, kept.admin_password)
    finally:
        remove(folder)
