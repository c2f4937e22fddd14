"""What row-level security with a signed context costs: ratios against a hand-written WHERE.

Three queries, each inside a tenant's transaction, on the table under row-level security and on a
copy of the same rows, with the same indexes and statistics, without it. The two are interleaved
query by query in one run, so that whatever else the machine does hits both. Targets: point read
1.25, last 50 messages 1.20, aggregate of 1,000 rows 1.10. The last line is a whole transaction of
one point read, entered and left as the platform does, against a bare BEGIN and COMMIT.

Run: python bench/rls_tax.py [--rounds 3000] [--json]
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo

from tenantry.core.ids import TenantId, new_id
from tenantry.db.migrate import SigningKey, migrate
from tenantry.db.store import Store, embedded_server
from tenantry.isolation.context import Actor, ContextMint
from tenantry.isolation.signing import ContextSigner
from tenantry.isolation.transaction import BEGIN, COMMIT

TENANTS = 100
MEMBERS = 50
MESSAGES = 200
EVENTS = 1000

_FILL = """
INSERT INTO tenantry.tenants (tenant_id, name)
SELECT gen_random_uuid(), 'tenant-' || n FROM generate_series(1, %(tenants)s) AS n;
INSERT INTO tenantry.members (tenant_id, member_id, external_id, role)
SELECT tenant_id, tenant_id, 'owner', 'owner' FROM tenantry.tenants;
INSERT INTO tenantry.members (tenant_id, member_id, external_id, role)
SELECT tenant_id, gen_random_uuid(), 'member-' || n, 'viewer'
  FROM tenantry.tenants CROSS JOIN generate_series(2, %(members)s) AS n;
INSERT INTO tenantry.assistants (tenant_id, assistant_id, name, current_version)
SELECT tenant_id, tenant_id, 'analyst', 1 FROM tenantry.tenants;
INSERT INTO tenantry.conversations (tenant_id, conversation_id, member_id, assistant_id)
SELECT tenant_id, tenant_id, tenant_id, tenant_id FROM tenantry.tenants;
INSERT INTO tenantry.messages (tenant_id, conversation_id, message_no, role, content)
SELECT tenant_id, tenant_id, n, 'user', repeat('word ', 40)
  FROM tenantry.tenants CROSS JOIN generate_series(1, %(messages)s) AS n;
INSERT INTO tenantry.usage_events (tenant_id, call_id, kind, operation, actor, provider, model,
       input_tokens, output_tokens, calls, cost_picousd, price_version)
SELECT tenant_id, gen_random_uuid(), 'recorded', 'chat', 'member', 'provider', 'model-' || n %% 5,
       n, n, 1, n, 0
  FROM tenantry.tenants CROSS JOIN generate_series(1, %(events)s) AS n;
CREATE SCHEMA plain;
GRANT USAGE ON SCHEMA plain TO tenantry_app, tenantry_tenant;
"""
_COPY = """
CREATE TABLE plain.{0} (LIKE tenantry.{0} INCLUDING ALL);
INSERT INTO plain.{0} SELECT * FROM tenantry.{0};
GRANT SELECT ON plain.{0} TO tenantry_app, tenantry_tenant;
VACUUM ANALYZE tenantry.{0};
VACUUM ANALYZE plain.{0};
"""
_TABLES = ("members", "messages", "usage_events")


@dataclass(frozen=True, slots=True)
class Case:
    """One query in two forms; `target` is the highest ratio allowed."""

    name: str
    target: float
    select: str
    table: str
    own: str
    rest: str

    def isolated(self) -> str:
        """The query as the platform writes it."""
        where = f" WHERE {self.own}" if self.own else ""
        return f"{self.select} FROM tenantry.{self.table}{where} {self.rest}"

    def plain(self) -> str:
        """The query with a tenant filter by hand, on the copy."""
        both = " AND ".join(part for part in ("tenant_id = %(tenant)s", self.own) if part)
        return f"{self.select} FROM plain.{self.table} WHERE {both} {self.rest}"


CASES = (
    Case("point read", 1.25, "SELECT external_id, role, status", "members",
         "member_id = %(id)s", ""),
    Case("last 50 messages", 1.20, "SELECT message_no, role, content, citations, created_at",
         "messages", "conversation_id = %(id)s", "ORDER BY message_no DESC LIMIT 50"),
    Case("aggregate of 1,000 rows", 1.10,
         "SELECT model, sum(input_tokens), sum(output_tokens), sum(cost_picousd)",
         "usage_events", "", "GROUP BY model"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """Medians in microseconds, and their ratio."""

    name: str
    plain_us: float
    isolated_us: float
    ratio: float
    target: float | None

    @property
    def holds(self) -> bool:
        """Whether the ratio is within its target, if it has one."""
        return self.target is None or self.ratio <= self.target


@contextmanager
def bench_store() -> Iterator[tuple[Store, ContextSigner]]:
    """A fresh embedded database with rows for many tenants, and a copy without isolation."""
    with tempfile.TemporaryDirectory(prefix="tenantry-bench-") as folder:
        Path(folder).chmod(0o755)
        with embedded_server(Path(folder), Path(folder) / "secrets.json") as store:
            signer = ContextSigner(bytes.fromhex(store.secrets.signing_key))
            migrate(store.admin_url, store.secrets, SigningKey(signer.key_id, *signer.blocks()))
            fill(store)
            yield store, signer


def fill(store: Store) -> None:
    """Give every tenant its rows."""
    numbers = {"tenants": TENANTS, "members": MEMBERS, "messages": MESSAGES, "events": EVENTS}
    with psycopg.connect(store.admin_url, autocommit=True) as admin:
        for statement in _FILL.split(";\n"):
            if statement.strip():
                admin.execute(statement.encode(), numbers)
        for table in _TABLES:
            for statement in _COPY.format(table).strip().split(";\n"):
                admin.execute(statement.encode())


def connect(store: Store) -> psycopg.Connection[Any]:
    """A connection of the tenants' role that prepares each statement at once."""
    url = make_conninfo(store.url, user="tenantry_app", password=store.secrets.app_password)
    return psycopg.connect(url, autocommit=True, prepare_threshold=0)


def token(signer: ContextSigner, tenant: UUID, connection: psycopg.Connection[Any]) -> str:
    """A genuine context for the life of the measurement."""
    actor = Actor("worker", new_id(), "worker")
    ctx = ContextMint(b"bench").mint(TenantId(tenant), actor, frozenset(), "bench", 0.0)
    return signer.token(ctx, connection.info.backend_pid, int(time.time()) + 3600)


def measure(connection: psycopg.Connection[Any], case: Case, tenant: UUID, rounds: int) -> Outcome:
    """Interleave both forms of one query; medians, and the median of the paired ratios."""
    parameters = {"tenant": tenant, "id": tenant}
    plain, isolated = case.plain().encode(), case.isolated().encode()
    assert sorted(map(repr, connection.execute(plain, parameters).fetchall())) == sorted(
        map(repr, connection.execute(isolated, parameters).fetchall())
    ), f"{case.name}: the two forms differ"
    times: dict[bytes, list[float]] = {plain: [], isolated: []}
    for number in range(rounds + 50):
        for query in (plain, isolated) if number % 2 else (isolated, plain):
            began = time.perf_counter()
            connection.execute(query, parameters).fetchall()
            elapsed = time.perf_counter() - began
            if number >= 50:  # the first rounds prepare and choose plans
                times[query].append(elapsed)
    a, b = (statistics.median(times[query]) * 1e6 for query in (plain, isolated))
    return Outcome(case.name, round(a, 1), round(b, 1), round(b / a, 3), case.target)


def run(rounds: int) -> list[Outcome]:
    """Every case, in one session and one transaction; the last is the transaction itself."""
    with bench_store() as (store, signer), connect(store) as connection:
        row = connection.execute("SELECT tenant_id FROM plain.members LIMIT 1").fetchone()
        assert row is not None
        tenant = row[0]
        connection.execute(BEGIN % token(signer, tenant, connection).encode(), prepare=False)
        outcomes = [measure(connection, case, tenant, rounds) for case in CASES]
        connection.execute("COMMIT")
        return [*outcomes, measure_transaction(connection, signer, tenant, rounds)]


def measure_transaction(
    connection: psycopg.Connection[Any], signer: ContextSigner, tenant: UUID, rounds: int
) -> Outcome:
    """A point read in a transaction of its own: as the platform runs it, and bare."""
    case, parameters = CASES[0], {"tenant": tenant, "id": tenant}
    enter = BEGIN % token(signer, tenant, connection).encode()
    forms = (
        (b"BEGIN", case.plain().encode(), b"COMMIT"),
        (enter, case.isolated().encode(), COMMIT),
    )
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for kind, (begin, query, commit) in enumerate(forms):
            began = time.perf_counter()
            connection.execute(begin, prepare=False)
            connection.execute(query, parameters).fetchall()
            connection.execute(commit, prepare=False)
            times[kind].append(time.perf_counter() - began)
    a, b = (statistics.median(t) * 1e6 for t in times)
    return Outcome("point read, transaction", round(a, 1), round(b, 1), round(b / a, 3), None)


def main() -> int:
    """Print the table; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    outcomes = run(options.rounds)
    if options.json:
        print(json.dumps([asdict(o) for o in outcomes]))
    else:
        print(f"{'query':<26}{'WHERE, us':>11}{'signed, us':>12}{'ratio':>8}{'target':>8}")
        for o in outcomes:
            verdict = "" if o.holds else "  MISSED"
            figures = f"{o.plain_us:>11}{o.isolated_us:>12}{o.ratio:>8}{o.target or '':>8}"
            print(f"{o.name:<26}{figures}{verdict}")
        print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores, {options.rounds} rounds")
    return 0 if all(o.holds for o in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
