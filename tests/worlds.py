"""Worlds that tests run in: always two tenants, so that the neighbour's row is really there."""

import fcntl
import secrets as random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tenantry.core.clock import SystemClock
from tenantry.core.ids import TenantId, new_id
from tenantry.db.embedded import EmbeddedPostgres
from tenantry.db.migrate import SigningKey, migrate
from tenantry.db.pool import RolePool
from tenantry.db.secrets import Secrets
from tenantry.isolation.context import Actor, ContextMint, Role, TenantContext
from tenantry.isolation.signing import ContextSigner
from tenantry.isolation.statements import RoleDatabase
from tenantry.isolation.transaction import Database
from tenantry.metering.writer import LedgerWriter
from tenantry.security.audit import AuditLog

_TEMPLATE = "tenantry_template"
_NOT_COPIED = (
    # Settings of roles in the database, and who may connect to it.
    "INSERT INTO pg_db_role_setting SELECT d.oid, s.setrole, s.setconfig FROM pg_db_role_setting s,"
    " pg_database d WHERE d.datname = %(name)s"
    " AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = %(template)s)",
    "UPDATE pg_database SET datacl = (SELECT datacl FROM pg_database WHERE datname = %(template)s)"
    " WHERE datname = %(name)s",
)
# A power cut would lose a test's data: let it. Killed processes lose nothing all the same.
# Logins are many, and guard nothing here: without the thousands of rounds that slow a guesser down.
_FAST = "-c fsync=off -c full_page_writes=off -c max_connections=300 -c scram_iterations=1"
ALL_SCOPES = frozenset(
    {
        "chat", "data:read", "data:write", "documents:read", "documents:write", "assistants:read",
        "assistants:write", "conversations:read", "conversations:write", "members:read",
        "members:write", "keys:read", "keys:write", "usage:read", "usage:write", "audit:read",
        "embeddings", "providers:read", "providers:write",
    }
)  # fmt: skip


class Cluster:
    """One embedded PostgreSQL, and databases cut from a migrated template."""

    def __init__(self, run_dir: Path) -> None:
        self._dir = run_dir
        self.secrets_path = run_dir / "secrets.json"
        self.secrets = Secrets.read_or_create(self.secrets_path)
        self.signer = ContextSigner(bytes.fromhex(self.secrets.signing_key))
        self._server = EmbeddedPostgres(run_dir / "postgres", self.secrets, _FAST)

    def __enter__(self) -> "Cluster":
        self._server.__enter__()
        options = "-c allow_system_table_mods=on"  # for what is not copied with a template
        self._admin = psycopg.connect(self.admin_url("postgres"), autocommit=True, options=options)
        with (self._dir / "template.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._ensure_template()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._admin.close()
        self._server.__exit__(kind, error, trace)

    def admin_url(self, database: str) -> str:
        """Connection string of the superuser, for tests that must see or break everything."""
        return make_conninfo(
            self._server.url, dbname=database, user="postgres", password=self.secrets.admin_password
        )

    def url(self, database: str) -> str:
        """Address of a database, without user and password."""
        return make_conninfo(self._server.url, dbname=database)

    def create_database(self) -> str:
        """A fresh migrated database; its name."""
        name = f"t_{random.token_hex(8)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        self._admin.execute(statement.format(sql.Identifier(name), sql.Identifier(_TEMPLATE)))
        # Migrating anew would take four times as long as all else.
        for copy in _NOT_COPIED:
            self._admin.execute(copy, {"name": name, "template": _TEMPLATE})
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database and everybody's connections to it."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self._admin.execute(statement.format(sql.Identifier(name)))

    def _key(self) -> SigningKey:
        return SigningKey(self.signer.key_id, *self.signer.blocks())

    def _ensure_template(self) -> None:
        find = "SELECT FROM pg_database WHERE datname = %s"
        if self._admin.execute(find, [_TEMPLATE]).fetchone() is None:
            password = sql.SQL("ALTER ROLE postgres PASSWORD {}")
            self._admin.execute(password.format(sql.Literal(self.secrets.admin_password)))
            create = sql.SQL("CREATE DATABASE {}")
            self._admin.execute(create.format(sql.Identifier(_TEMPLATE)))
        migrate(self.admin_url(_TEMPLATE), self.secrets, self._key())


@dataclass
class World:
    """A database with the tenants acme and globex, and every door to it."""

    cluster: Cluster
    database: str
    data_dir: Path
    clock: SystemClock
    mint: ContextMint
    db: Database
    auth_db: RoleDatabase
    operator_db: RoleDatabase
    audit_db: RoleDatabase
    audit: AuditLog
    writer: LedgerWriter
    pools: dict[str, RolePool]
    acme: TenantContext
    globex: TenantContext

    @classmethod
    @asynccontextmanager
    async def create(cls, cluster: Cluster, data_dir: Path) -> AsyncIterator["World"]:
        """Build a world and take it down afterwards."""
        database = cluster.create_database()
        secrets, clock = cluster.secrets, SystemClock()
        mint = ContextMint(random.token_bytes(32))
        try:
            async with AsyncExitStack() as stack:
                pools = {}
                for role, password in (
                    ("app", secrets.app_password),
                    ("auth", secrets.auth_password),
                    ("audit", secrets.audit_password),
                    ("operator", secrets.operator_password),
                    ("ledger", secrets.ledger_password),
                ):
                    pool = RolePool(cluster.url(database), f"tenantry_{role}", password, 8)
                    await pool.open()
                    stack.push_async_callback(pool.close)
                    pools[role] = pool
                audit_db = RoleDatabase(pools["audit"])
                audit = AuditLog(audit_db, bytes.fromhex(secrets.audit_key))
                ledger_db = RoleDatabase(pools["ledger"])
                with psycopg.connect(cluster.admin_url(database), autocommit=True) as admin:
                    acme, globex = (_tenant(admin, mint, name) for name in ("acme", "globex"))
                world = cls(
                    cluster=cluster,
                    database=database,
                    data_dir=data_dir,
                    clock=clock,
                    mint=mint,
                    db=Database(pools["app"], mint, cluster.signer, clock),
                    auth_db=RoleDatabase(pools["auth"]),
                    operator_db=RoleDatabase(pools["operator"]),
                    audit_db=audit_db,
                    audit=audit,
                    writer=LedgerWriter(ledger_db, mint, cluster.signer, audit),
                    pools=pools,
                    acme=acme,
                    globex=globex,
                )
                yield world
        finally:
            cluster.drop_database(database)

    def context(
        self,
        like: TenantContext,
        role: Role = "viewer",
        scopes: frozenset[str] = ALL_SCOPES,
        member: UUID | None = None,
    ) -> TenantContext:
        """Another context of the same tenant; creates the member unless one is given."""
        if member is None:
            with self.admin() as admin:
                member = _member(admin, like.tenant, role)
        actor = Actor("member", member, role)
        deadline = self.clock.monotonic() + 3600
        return self.mint.mint(like.tenant, actor, scopes, f"req-{new_id()}", deadline)

    def admin(self) -> psycopg.Connection[Any]:
        """A superuser's connection: sees past row-level security. Close it (use `with`)."""
        return psycopg.connect(self.cluster.admin_url(self.database), autocommit=True)

    async def audit_events(self, ctx: TenantContext) -> list[dict[str, Any]]:
        """The tenant's audit events, oldest first, read past row-level security."""
        query = "SELECT * FROM tenantry.audit_events WHERE tenant_id = %s ORDER BY seq"
        with self.admin() as connection:
            cursor = connection.execute(query, [ctx.tenant])
            names = [c.name for c in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _tenant(admin: psycopg.Connection[Any], mint: ContextMint, name: str) -> TenantContext:
    tenant = TenantId(new_id())
    insert = "INSERT INTO tenantry.tenants (tenant_id, name) VALUES (%s, %s)"
    admin.execute(insert, [tenant, name])
    actor = Actor("member", _member(admin, tenant, "owner"), "owner")
    deadline = SystemClock().monotonic() + 3600
    return mint.mint(tenant, actor, ALL_SCOPES, f"req-{name}", deadline)


def _member(admin: psycopg.Connection[Any], tenant: TenantId, role: Role) -> UUID:
    member = new_id()
    insert = (
        "INSERT INTO tenantry.members (tenant_id, member_id, external_id, role) "
        "VALUES (%s, %s, %s, %s)"
    )
    admin.execute(insert, [tenant, member, f"{role}-{member}", role])
    return member
