"""One real PostgreSQL with a database and a login for each of many tenants, and a plain driver.

The driver is the smallest that keeps the pools' contract: it stands for those of the connector
kinds, which have tests of their own.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from tenantry.core.errors import QueryFailed, SourceUnreachable
from tenantry.core.ids import ConnectorId, TenantId, new_id
from tenantry.db.embedded import EmbeddedPostgres
from tenantry.db.secrets import Secrets
from tenantry.isolation.context import Actor, ContextMint, TenantContext
from tenantry.pools.base import Dial, Identity, Level, PoolKey

_IDENTITY = "SELECT session_user, current_user, current_database(), pg_backend_pid()"
_RESET = f"ROLLBACK; RESET ROLE; RESET ALL; {_IDENTITY}"
# A test's data may be lost with the power; nobody's statistics are needed.
_FAST = "-c fsync=off -c full_page_writes=off -c autovacuum=off -c max_connections={}"
_MINT = ContextMint(b"tests")


class PlainConnection:
    """A `PhysicalConnection` of psycopg's."""

    def __init__(self, connection: AsyncConnection[tuple[Any, ...]]) -> None:
        self._connection = connection

    async def identity(self) -> Identity:
        """One round trip to the server."""
        return await self._identify(_IDENTITY)

    async def reset(self) -> Identity:
        """Forget settings and roles, and say who one is: one round trip."""
        return await self._identify(_RESET)

    async def ping(self) -> None:
        """A round trip."""
        await self.rows("SELECT 1")

    async def become(self, role: str) -> None:
        """Act as a role that the login is a member of, until the next reset."""
        await self._connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))

    async def rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a statement gives."""
        try:
            cursor = await self._connection.execute(statement.encode(), values or None)
            return await cursor.fetchall()
        except psycopg.OperationalError as error:
            raise SourceUnreachable from error
        except psycopg.Error as error:
            raise QueryFailed from error

    async def close(self) -> None:
        """Stop what runs, and hang up."""
        if self._connection.info.transaction_status == TransactionStatus.ACTIVE:
            await self._connection.cancel_safe(timeout=2.0)
        await self._connection.close()

    async def _identify(self, statement: str) -> Identity:
        try:
            cursor = await self._connection.execute(statement.encode(), prepare=False)
            while cursor.nextset():
                pass
            (row,) = await cursor.fetchall()
        except psycopg.Error as error:
            raise SourceUnreachable from error
        _, user, database, pid = row
        return Identity(user, database, str(pid))


@dataclass(eq=False)
class TenantDatabase:
    """A tenant, its database and the login that its connector uses."""

    name: str
    ctx: TenantContext
    conninfo: str
    password: str
    version: int = 1
    level: Level = "hybrid"
    connector: ConnectorId = field(default_factory=lambda: ConnectorId(new_id()))

    def dial(self, **options: Any) -> Dial[PlainConnection]:
        """As it is reached now."""
        key = PoolKey(self.ctx.tenant, self.connector, self.version)
        password = self.password

        async def connect() -> PlainConnection:
            return await plain_connection(self.conninfo, password)

        share = (self.conninfo, password)
        return Dial(key, self.level, Identity(self.name, self.name), connect, share, **options)


async def plain_connection(conninfo: str, password: str) -> PlainConnection:
    """A connection that commits each statement."""
    try:
        return PlainConnection(
            await AsyncConnection.connect(
                conninfo, password=password, autocommit=True, prepare_threshold=None
            )
        )
    except psycopg.Error as error:
        raise SourceUnreachable from error


class TenantServer:
    """The server; its databases hold one row, which tells whose it is."""

    def __init__(
        self, folder: Path, tenants: int, *, sessions: int = 400, scram_iterations: int = 1
    ) -> None:
        """A login costs next to nothing, unless `scram_iterations` says otherwise."""
        self._secrets = Secrets.read_or_create(folder / "secrets.json")
        options = _FAST.format(sessions)
        self._server = EmbeddedPostgres(folder / "postgres", self._secrets, options)
        self._count = tenants
        self._iterations = scram_iterations
        self.tenants: list[TenantDatabase] = []

    def __enter__(self) -> "TenantServer":
        self._server.__enter__()
        with self.admin() as admin:
            admin.execute(f"SET scram_iterations = {self._iterations:d}".encode())
            admin.execute("SET file_copy_method = clone")
            admin.execute("CREATE DATABASE one_row")
            with self.admin("one_row") as template:
                template.execute("CREATE TABLE owner AS SELECT ''::text AS name")
                template.execute("GRANT SELECT ON owner TO public")
            self.tenants = [self._create(admin, f"t{n}") for n in range(self._count)]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.__exit__(kind, error, trace)

    def url(self, database: str = "postgres") -> str:
        """Address of a database, without a password."""
        return make_conninfo(self._server.url, dbname=database)

    def admin(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A superuser's connection; close it."""
        return psycopg.connect(
            self.url(database), password=self._secrets.admin_password, autocommit=True
        )

    def sessions(self) -> Mapping[str, int]:
        """How many sessions the server has, by tenant's database."""
        query = (
            "SELECT datname, count(*) FROM pg_stat_activity WHERE usename ~ '^t[0-9]' GROUP BY 1"
        )
        with self.admin() as admin:
            return dict(admin.execute(query).fetchall())

    def kill_some(self, admin: psycopg.Connection[Any], share: float) -> int:
        """End a random share of the tenants' sessions; how many."""
        query = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE usename ~ '^t[0-9]' AND random() < %s"""
        row = admin.execute(query, [share]).fetchone()
        return int(row[0]) if row else 0

    def rotate(self, admin: psycopg.Connection[Any], tenant: TenantDatabase) -> None:
        """Give the tenant's login another password."""
        password = secrets.token_hex(8)
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
        admin.execute(statement.format(sql.Identifier(tenant.name), sql.Literal(password)))
        tenant.password = password
        tenant.version += 1

    def _create(self, admin: psycopg.Connection[Any], name: str) -> TenantDatabase:
        password, identifier = secrets.token_hex(8), sql.Identifier(name)
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(identifier, sql.Literal(password))
        )
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE one_row STRATEGY file_copy").format(identifier)
        )
        with self.admin(name) as own:
            own.execute("UPDATE owner SET name = %s", [name])
        actor = Actor("worker", new_id(), "worker")
        ctx = _MINT.mint(TenantId(new_id()), actor, frozenset(), f"req-{name}", float("inf"))
        return TenantDatabase(name, ctx, make_conninfo(self.url(name), user=name), password)


async def sessions_gone(server: TenantServer, patience_s: float = 10.0) -> Mapping[str, int]:
    """The tenants' sessions once there are none, or those that are still there after a while."""
    sessions = server.sessions()
    for _ in range(int(patience_s / 0.1)):
        if not sessions:
            break
        await asyncio.sleep(0.1)
        sessions = await asyncio.to_thread(server.sessions)
    return sessions
