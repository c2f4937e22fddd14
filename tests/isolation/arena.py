"""A database in which two tenants hold a canary in every table, and a door to attack it through.

The attacker has SQL with full freedom inside acme's transaction and knows globex's ids. It has
reached globex if any of globex's canaries is in anything it saw: rows, errors, notices.
"""

import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from tenantry.core.clock import SystemClock
from tenantry.core.errors import TenantryError
from tenantry.core.ids import TenantId, new_id
from tenantry.db.pool import RolePool
from tenantry.isolation.context import Actor, ContextMint, TenantContext
from tenantry.isolation.transaction import Database, Transaction
from tests.worlds import ALL_SCOPES, Cluster

TENANT_TABLES = b"""
SELECT c.relname AS name FROM pg_class AS c
 WHERE c.relnamespace = 'tenantry'::regnamespace AND c.relkind IN ('r', 'p')
   AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')
 ORDER BY name
"""


@dataclass
class Side:
    """One tenant: its context, the id its rows share, and the canary planted in each table."""

    name: str
    ctx: TenantContext
    row_id: UUID
    operator_id: UUID
    canaries: dict[str, str] = field(default_factory=dict)

    @property
    def tenant(self) -> TenantId:
        return self.ctx.tenant

    def canary(self, table: str) -> str:
        """A fresh canary for a row of `table`."""
        return self.canaries.setdefault(table, f"tcn_{self.name}_{table}_{secrets.token_hex(8)}")


@dataclass
class Arena:
    """The database under attack."""

    cluster: Cluster
    database: str
    mint: ContextMint
    acme: Side
    globex: Side

    @contextmanager
    def admin(self) -> Iterator[psycopg.Connection[Any]]:
        """A superuser's connection, which sees everything."""
        url = self.cluster.admin_url(self.database)
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection

    @asynccontextmanager
    async def pool(self, size: int = 1, role: str = "app") -> AsyncIterator[RolePool]:
        """Connections of a role; with one only, the next user gets the attacker's."""
        password = getattr(self.cluster.secrets, f"{role}_password")
        pool = RolePool(self.cluster.url(self.database), f"tenantry_{role}", password, size)
        await pool.open()
        try:
            yield pool
        finally:
            await pool.close()

    def door(self, pool: RolePool) -> Database:
        """The door that every room uses."""
        return Database(pool, self.mint, self.cluster.signer, SystemClock())

    def fingerprint(self, side: Side) -> str:
        """Hash of every row of a tenant, in every table."""
        whole = hashlib.sha256()
        with self.admin() as admin:
            for (table,) in admin.execute(TENANT_TABLES).fetchall():
                query = f"SELECT t::text FROM tenantry.{table} AS t WHERE tenant_id = %s ORDER BY 1"
                rows = admin.execute(query.encode(), [side.tenant]).fetchall()
                whole.update(repr((table, rows)).encode())
        return whole.hexdigest()


@dataclass
class Attacker:
    """SQL with full freedom in one transaction; keeps all it was shown."""

    tx: Transaction
    known: dict[str, object]
    seen: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    ran: int = 0

    async def run(self, statement: str) -> list[dict[str, Any]]:
        """Run it and keep what came back.

        Raises:
            psycopg.Error: PostgreSQL refused; the refusal's text is kept too.
        """
        self.ran += 1
        try:
            rows = await self.tx.rows(statement.encode(), **self.known)
        except psycopg.ProgrammingError as error:
            if error.sqlstate is None:  # it ran, and has no rows to give
                return []
            self._keep(statement, error)
            raise
        except psycopg.Error as error:
            self._keep(statement, error)
            raise
        self.seen.append(json.dumps(rows, default=_text))
        return rows

    def _keep(self, statement: str, error: psycopg.Error) -> None:
        self.errors[statement] = error.sqlstate or type(error).__name__
        diag = error.diag
        self.seen.append(
            f"{error} {diag.message_detail} {diag.message_hint} {diag.context} {diag.column_name}"
        )


class EndOfAttackError(TenantryError):
    """The attacker's transaction is rolled back."""


async def assault(
    arena: Arena, db: Database, statements: Iterable[str], *, go_on: bool, commit: bool = True
) -> Attacker:
    """Run the statements in acme's transaction; with `go_on`, past every error.

    Errors of ours at the end (a closed connection, an ended transaction) are the defence.
    """
    attacker: Attacker | None = None
    try:
        async with db.tenant(arena.acme.ctx) as tx:
            attacker = Attacker(tx, known(arena))
            for number, statement in enumerate(statements):
                if go_on:
                    await _go_on(attacker, f"s{number}", statement)
                else:
                    await attacker.run(statement)
            if not commit:
                raise EndOfAttackError
    except TenantryError as error:
        if attacker is None:
            raise
        attacker.seen.append(str(error))
    assert attacker is not None
    return attacker


async def _go_on(attacker: Attacker, savepoint: str, statement: str) -> None:
    try:
        await attacker.run(f"SAVEPOINT {savepoint}")
    except psycopg.errors.NoActiveSqlTransaction:
        savepoint = ""  # the attacker committed: from here on each statement stands alone
    try:
        await attacker.run(statement)
    except psycopg.OperationalError:
        raise
    except psycopg.Error:
        if savepoint:
            try:
                await attacker.run(f"ROLLBACK TO SAVEPOINT {savepoint}")
            except psycopg.errors.NoActiveSqlTransaction:
                return


def known(arena: Arena) -> dict[str, object]:
    """What the attacker knows of its victim: all its ids, but none of its content."""
    return {
        "globex": arena.globex.tenant,
        "acme": arena.acme.tenant,
        "globex_hex": arena.globex.tenant.hex,
        "acme_hex": arena.acme.tenant.hex,
        "victim": arena.globex.row_id,
        "own": arena.acme.row_id,
        "fresh": new_id(),
    }


def build(cluster: Cluster, database: str) -> Arena:
    """Plant both tenants."""
    mint = ContextMint(secrets.token_bytes(32))
    sides = [_side(mint, name) for name in ("acme", "globex")]
    arena = Arena(cluster, database, mint, *sides)
    with arena.admin() as admin:
        # One shelf that holds vectors of both: there only the policy stands between them.
        admin.execute("SET ROLE tenantry_owner; SELECT tenantry_private.take_shelf(); RESET ROLE")
        for side in sides:
            for table, rows in _rows(side).items():
                for row in rows:
                    columns = ", ".join(row)
                    marks = ", ".join(f"%({column})s" for column in row)
                    insert = f"INSERT INTO tenantry.{table} ({columns}) VALUES ({marks})"
                    admin.execute(insert.encode(), row)
        admin.execute("UPDATE tenantry.audit_heads SET seq = 1")
    return arena


def _side(mint: ContextMint, name: str) -> Side:
    tenant, row_id = TenantId(new_id()), new_id()
    deadline = SystemClock().monotonic() + 3600
    actor = Actor("member", row_id, "owner")
    ctx = mint.mint(tenant, actor, ALL_SCOPES, f"req-{name}", deadline)
    return Side(name, ctx, row_id, new_id())


def _rows(side: Side) -> dict[str, list[dict[str, Any]]]:
    """One row a table, children after parents; every id is the side's `row_id`."""
    c, i, t = side.canary, side.row_id, side.tenant
    digest = hashlib.sha256(side.name.encode()).digest()
    vector = "[" + ",".join(["0.5"] * 4) + "]"
    rows: dict[str, dict[str, Any]] = {
        "operators": {"operator_id": side.operator_id, "name": c("operators")},
        "tenants": {"name": c("tenants").replace("_", "-")},
        "members": {"member_id": i, "external_id": c("members"), "role": "owner"},
        "api_keys": {"key_id": i, "member_id": i, "public_id": secrets.token_hex(4),
                     "digest": digest, "name": c("api_keys"), "scopes": ["chat"]},
        "audit_events": {"seq": 1, "at": "2026-01-01", "actor": c("audit_events"), "action": "x",
                         "outcome": "allowed", "layer": "api", "target_digest": "",
                         "detail": Jsonb({}), "request_id": "", "previous_hash": digest,
                         "hash": digest},
        "audit_heads": {"seq": 1, "hash": c("audit_heads").encode()},
        "usage_events": {"call_id": i, "kind": "recorded", "operation": "chat",
                         "actor": c("usage_events"), "provider": "p", "model": "m", "calls": 1,
                         "price_version": 0},
        "budget_plans": {"time_zone": c("budget_plans")},
        "budgets": {"budget_id": i, "set_by": "tenant", "scope": "model", "subject": c("budgets"),
                    "unit": "tokens", "period": "day", "hard_limit": 1, "alerts": []},
        "budget_counters": {"budget_id": i, "subject": c("budget_counters"),
                            "window_start": "2026-01-01", "window_end": "2026-01-02", "used": 1,
                            "tat_us": 0},
        "budget_leases": {"lease_id": i, "replica": i, "epoch": 1, "expires_at": "2026-01-01",
                          "parts": Jsonb([[c("budget_leases")]])},
        "budget_alerts": {"budget_id": i, "subject": c("budget_alerts"),
                          "window_start": "2026-01-01", "mark": "80", "amount": 1,
                          "scope": "model", "unit": "tokens", "period": "day",
                          "limit_amount": 1},
        "assistants": {"assistant_id": i, "name": c("assistants").replace("_", "-"),
                       "current_version": 1},
        "assistant_versions": {"assistant_id": i, "version": 1,
                               "instructions": c("assistant_versions"), "model": "keyless",
                               "tools": [], "created_by": i},
        "conversations": {"conversation_id": i, "member_id": i, "assistant_id": i,
                          "title": c("conversations")},
        "messages": {"conversation_id": i, "message_no": 1, "role": "user",
                     "content": c("messages")},
        "tool_calls": {"conversation_id": i, "tool_call_id": i, "message_no": 1,
                       "tool": "query_data", "arguments": c("tool_calls"), "outcome": "ok",
                       "duration_ms": 1, "row_count": 1, "size_bytes": 1},
        "groups": {"group_id": i, "name": c("groups").replace("_", "-")},
        "group_members": {"group_id": i, "member_id": i},
        "audiences": {"audience": 1, "groups": [i]},
        "documents": {"document_id": i, "title": c("documents"), "media_type": "text/plain",
                      "sha256": digest, "size_bytes": 1, "chunk_count": 1, "created_by": i},
        "chunks": {"document_id": i, "chunk_no": 0, "content": c("chunks"), "start_offset": 0,
                   "end_offset": 1},
        "vector_versions": {"version": 1, "embedder": c("vector_versions"), "is_default": True,
                            "dimension": 4, "state": "active"},
        "chunk_embeddings": {"document_id": i, "version": 1, "chunk_no": 0, "embedding": vector},
        "vector_shelves": {"version": 1, "shelf": 1, "dimension": 4, "state": "ready"},
        "vector_changes": {"version": 1, "document_id": i},
        "chunk_vectors": {"shelf": 1, "document_id": i, "chunk_no": 0, "embedding": vector},
        "connectors": {"connector_id": i, "name": c("connectors"), "kind": "files"},
        "suspended_operations": {"connector_id": i, "acceptance": i,
                                 "operation": c("suspended_operations")},
        "approvals": {"approval_id": i, "connector_id": i, "conversation_id": i,
                      "requested_by": i, "operation": c("approvals"), "arguments": Jsonb({}),
                      "sha256": digest, "expires_at": "2030-01-01"},
        "data_files": {"connector_id": i, "table_name": c("data_files"), "sha256": digest,
                       "stored_sha256": digest, "size_bytes": 1, "row_count": 1,
                       "columns": Jsonb([]), "created_by": i},
        "result_files": {"result_id": i, "connector": c("result_files"), "sql": "SELECT 1",
                         "row_count": 1, "is_whole": True, "size_bytes": 1,
                         "content": c("result_files").encode(), "created_by": i,
                         "expires_at": "2030-01-01"},
        "patterns": {"pattern_id": i, "connector_id": i, "current_version": 1},
        "pattern_versions": {"pattern_id": i, "version": 1, "question": c("pattern_versions"),
                             "sql": "SELECT 1", "embedding": vector, "embedder": "e",
                             "created_by": i},
        "break_glass_grants": {"grant_id": i, "operator_id": side.operator_id,
                               "reason": c("break_glass_grants"), "token_digest": digest,
                               "opened_at": "2026-01-01 00:00", "expires_at": "2026-01-01 00:30"},
        "break_glass_sessions": {"session_id": i, "grant_id": i, "backend_pid": 1,
                                 "opened_at": "2026-01-01 00:00",
                                 "expires_at": "2026-01-01 00:05"},
        "provider_accounts": {"account_id": i, "name": c("provider_accounts"), "kind": "google",
                              "base_url": "https://example.com", "models": Jsonb([]),
                              "max_tokens_field": "max_tokens", "credential_version": 1},
        "model_policies": {"allowed": Jsonb([c("model_policies")])},
        "vault_keys": {"key_version": 1, "wrapped": b"k", "wrapped_by": c("vault_keys"),
                       "created_at": "2026-01-01"},
        "vault_secrets": {"owner_kind": "connector", "owner_id": i, "version": 1, "place": 1,
                          "field": c("vault_secrets"), "key_version": 1, "sealed": b"s" * 40},
        "jobs": {"job_id": i, "pool": "ingest", "kind": "ingest", "key": c("jobs"),
                 "state": "paused", "actor_kind": "member", "actor_id": i, "actor_role": "owner"},
        "job_inputs": {"job_id": i, "content": c("job_inputs").encode()},
        "job_shares": {"pool": c("job_shares")},
    }  # fmt: skip
    return {
        table: [row if table == "operators" else {"tenant_id": t, **row}]
        for table, row in rows.items()
    }


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
