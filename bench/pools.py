"""The article's table of pool levels, with figures: latency, connections and memory.

Every tenant of a thousand has a database and a login of its own on one server, comes once with a
burst of ten leases, and goes. Four bursts are under way at any time. Each way of pooling runs in a
process of its own, over the same databases. At the end, with every tenant served, the sessions
that the server still holds are counted, and the memory that client and server have gained.

Compared: one `psycopg_pool` per tenant (with its own check of a connection, and without), and
PgBouncer in session mode, reached anew for each lease, where the program is installed.

Run: python -m bench.pools [--tenants 1000] [--json]
"""

import argparse
import asyncio
import gc
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool
from tests.sources.tenant_databases import PlainConnection, TenantServer, plain_connection

from tenantry.core.clock import SystemClock
from tenantry.core.events import AuditEvent
from tenantry.core.ids import ConnectorId, TenantId, new_id
from tenantry.isolation.context import Actor, ContextMint
from tenantry.pools.base import Dial, Identity, Level, PoolCaps, PoolKey
from tenantry.pools.pools import Pools

LEASES, BURSTS, CAP = 10, 4, 100
WHO = "SELECT current_user"
LEVELS: tuple[Level, ...] = ("shared", "dedicated", "per_request", "hybrid")
OTHERS = ("psycopg_pool", "psycopg_pool, checked", "PgBouncer")
_BOUNCER = """
[databases]
* = host={server}
[pgbouncer]
unix_socket_dir = {folder}
listen_addr =
listen_port = 6432
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = session
default_pool_size = 4
max_client_conn = 200
server_idle_timeout = 120
"""

Ask = Callable[[], Awaitable[str]]
Lend = Callable[["Tenant"], AbstractAsyncContextManager[Ask]]


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant's database and login."""

    name: str
    conninfo: str
    password: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a process that measures one way needs to know."""

    tenants: tuple[Tenant, ...]
    everyone: Tenant
    admin: str
    postmaster: int
    bouncer: str
    bouncer_pid: int

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """From JSON."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        fields["tenants"] = tuple(Tenant(**tenant) for tenant in fields["tenants"])
        fields["everyone"] = Tenant(**fields["everyone"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of one way; times in milliseconds, memory in megabytes, for all tenants together."""

    name: str
    p50_ms: float
    p99_ms: float
    connections: int
    client_mb: float
    server_mb: float
    leases_s: float


class NoEvents:
    """An audit sink that expects nothing: a violation here would be a bug."""

    async def record(self, event: AuditEvent) -> None:
        """Fail."""
        raise AssertionError(event)


@asynccontextmanager
async def levels(plan: Plan, level: Level) -> AsyncIterator[Lend]:
    """Our own pools, one level for everyone; only `dedicated` may hold one for each tenant."""
    total = len(plan.tenants) + CAP if level == "dedicated" else CAP
    pools = Pools(PoolCaps(total=total), NoEvents(), SystemClock())
    mint, connectors = ContextMint(b"bench"), {t.name: ConnectorId(new_id()) for t in plan.tenants}
    tenants = {t.name: TenantId(new_id()) for t in plan.tenants}
    actor = Actor("worker", new_id(), "worker")

    @asynccontextmanager
    async def lend(tenant: Tenant) -> AsyncIterator[Ask]:
        ctx = mint.mint(tenants[tenant.name], actor, frozenset(), "bench", float("inf"))
        key = PoolKey(ctx.tenant, connectors[tenant.name], 1)
        reach = plan.everyone if level == "shared" else tenant
        connect = partial(plain_connection, reach.conninfo, reach.password)
        database = conninfo_to_dict(reach.conninfo)["dbname"]
        dial: Dial[PlainConnection] = Dial(
            key, level, Identity(tenant.name, str(database)), connect, (reach.conninfo,)
        )
        if level == "shared":
            dial = replace(
                dial,
                assume=lambda connection: connection.become(tenant.name),
                unassumed=Identity(reach.name, str(database)),
            )
        async with pools.lease(ctx, dial) as connection:
            yield partial(first, connection.rows)

    yield lend
    await pools.close()


async def first(rows: Callable[[str], Awaitable[list[tuple[Any, ...]]]]) -> str:
    """The query of a lease."""
    return str((await rows(WHO))[0][0])


@asynccontextmanager
async def pool_per_tenant(_: Plan, *, checked: bool) -> AsyncIterator[Lend]:
    """A `psycopg_pool` for each tenant, opened when it first comes."""
    pools: dict[str, AsyncConnectionPool[psycopg.AsyncConnection[Any]]] = {}

    @asynccontextmanager
    async def lend(tenant: Tenant) -> AsyncIterator[Ask]:
        if tenant.name not in pools:
            pools[tenant.name] = AsyncConnectionPool(
                make_conninfo(tenant.conninfo, password=tenant.password),
                kwargs={"autocommit": True, "prepare_threshold": None},
                min_size=1,
                max_size=4,
                open=False,
                check=AsyncConnectionPool.check_connection if checked else None,
            )
            await pools[tenant.name].open(wait=True)
        async with pools[tenant.name].connection() as connection:
            yield partial(_ask, connection)

    yield lend
    await asyncio.gather(*(pool.close() for pool in pools.values()))


@asynccontextmanager
async def bouncer(plan: Plan) -> AsyncIterator[Lend]:
    """A connection to PgBouncer for each lease, which pools behind it."""

    @asynccontextmanager
    async def lend(tenant: Tenant) -> AsyncIterator[Ask]:
        address = make_conninfo(tenant.conninfo, host=plan.bouncer, port=6432)
        connection = await psycopg.AsyncConnection.connect(
            address, password=tenant.password, autocommit=True, prepare_threshold=None
        )
        async with connection:
            yield partial(_ask, connection)

    yield lend


async def _ask(connection: psycopg.AsyncConnection[Any]) -> str:
    cursor = await connection.execute(WHO.encode())
    return str((await cursor.fetchall())[0][0])


async def drive(lend: Lend, tenants: Sequence[Tenant]) -> list[float]:
    """Let every tenant come once, in random order; how long each acquisition took, in seconds."""
    times: list[float] = []
    coming = iter(random.Random(3).sample(tenants, len(tenants)))

    async def serve() -> None:
        for tenant in coming:
            for _ in range(LEASES):
                began = time.perf_counter()
                async with lend(tenant) as ask:
                    times.append(time.perf_counter() - began)
                    assert await ask() == tenant.name

    await asyncio.gather(*(serve() for _ in range(BURSTS)))
    return times


def way(plan: Plan, name: str) -> AbstractAsyncContextManager[Lend]:
    """The way of pooling of that name."""
    if name == "PgBouncer":
        return bouncer(plan)
    if name in OTHERS:
        return pool_per_tenant(plan, checked="checked" in name)
    return levels(plan, next(level for level in LEVELS if level == name))


def client_bytes(plan: Plan) -> int:
    """Resident memory of this process, and of PgBouncer's."""
    pids = [os.getpid(), *([plan.bouncer_pid] if plan.bouncer_pid else [])]
    return sum(int(psutil.Process(pid).memory_info().rss) for pid in pids)


def server_bytes(plan: Plan) -> int:
    """Memory of all of PostgreSQL's processes, shared pages divided among them."""
    root = psutil.Process(plan.postmaster)
    total = 0
    for process in (root, *root.children()):
        try:
            total += int(process.memory_full_info().pss)
        except psutil.NoSuchProcess:
            continue  # a session that ended just now holds nothing
    return total


async def measure(plan: Plan, name: str) -> Outcome:
    """One way, from nothing to every tenant served."""
    gc.collect()
    client, server = client_bytes(plan), server_bytes(plan)
    began = time.perf_counter()
    async with way(plan, name) as lend:
        times = await drive(lend, plan.tenants)
        elapsed = time.perf_counter() - began
        gc.collect()
        with psycopg.connect(plan.admin) as admin:
            held = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename ~ '^t[0-9]'"
                                 " OR usename = 'everyone'").fetchone()  # fmt: skip
        client, server = client_bytes(plan) - client, server_bytes(plan) - server
    cuts = statistics.quantiles(times, n=100)
    return Outcome(
        name, round(cuts[49] * 1e3, 2), round(cuts[98] * 1e3, 2), held[0] if held else 0,
        round(client / 1e6, 1), round(server / 1e6, 1), round(len(times) / elapsed),
    )  # fmt: skip


@contextmanager
def planned(tenants: int) -> Iterator[Path]:
    """A server with that many databases, perhaps PgBouncer before it, and the plan in a file."""
    folder = Path(tempfile.mkdtemp(prefix="tenantry-bench-"))
    folder.chmod(0o755)
    cost = {"sessions": tenants + 100, "scram_iterations": 4096}
    with TenantServer(folder, tenants, **cost) as server, pgbouncer(server, folder) as pid:
        with server.admin() as admin:
            admin.execute("CREATE ROLE everyone LOGIN PASSWORD 'everyone'")
            for tenant in server.tenants:
                grant = sql.SQL("GRANT {} TO everyone").format(sql.Identifier(tenant.name))
                admin.execute(grant)
            address = make_conninfo(server.url(), password=admin.info.password)
        plan = Plan(
            tuple(Tenant(t.name, t.conninfo, t.password) for t in server.tenants),
            Tenant("everyone", make_conninfo(server.url("one_row"), user="everyone"), "everyone"),
            address,
            int((folder / "postgres/pg/postmaster.pid").read_text(encoding="utf-8").split()[0]),
            str(folder / "bouncer"),
            pid,
        )
        path = folder / "plan.json"
        path.write_text(json.dumps(asdict(plan)), encoding="utf-8")
        yield path
    while (folder / "postgres/pg/postmaster.pid").exists():
        time.sleep(0.05)
    shutil.rmtree(folder)


@contextmanager
def pgbouncer(server: TenantServer, folder: Path) -> Iterator[int]:
    """PgBouncer before the server; its process id, or 0 where it is not installed."""
    program = shutil.which("pgbouncer")
    if program is None:
        yield 0
        return
    home = folder / "bouncer"
    home.mkdir()
    users = "".join(f'"{t.name}" "{t.password}"\n' for t in server.tenants)
    (home / "users").write_text(users, encoding="utf-8")
    config = home / "pgbouncer.ini"
    host = conninfo_to_dict(server.url())["host"]
    config.write_text(_BOUNCER.format(server=host, folder=home), encoding="utf-8")
    owner = (folder / "postgres/pg").stat()
    for path in (home, *home.iterdir()):
        os.chown(path, owner.st_uid, owner.st_gid)
    process = subprocess.Popen(
        [program, "-q", str(config)], stderr=subprocess.DEVNULL,
        user=owner.st_uid, group=owner.st_gid,
    )  # fmt: skip
    try:
        while not (home / ".s.PGSQL.6432").exists():
            assert process.poll() is None, "PgBouncer did not start"
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def run(tenants: int) -> list[Outcome]:
    """Every way, each in a process of its own."""
    outcomes = []
    with planned(tenants) as plan:
        has_bouncer = Plan.read(plan).bouncer_pid != 0
        for name in (*LEVELS, *(other for other in OTHERS if has_bouncer or other != "PgBouncer")):
            command = [sys.executable, "-m", "bench.pools", "--way", name, "--plan", str(plan)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            outcomes.append(Outcome(**json.loads(done.stdout)))
    return outcomes


def show(outcomes: Sequence[Outcome], tenants: int) -> None:
    """The table; connections and memory as they would be for 1,000 tenants."""
    print(f"{'':<24}{'acquire, ms':>16}{'for 1,000 tenants':>36}{'leases':>10}")
    print(f"{'':<24}{'p50':>8}{'p99':>8}{'connections':>14}{'client MB':>11}{'server MB':>11}"
          f"{'a second':>10}")  # fmt: skip
    for o in outcomes:
        scale = 1000 / tenants
        # What a cap holds does not grow with the tenants.
        held = o.connections if o.connections <= CAP else round(o.connections * scale)
        print(f"{o.name:<24}{o.p50_ms:>8}{o.p99_ms:>8}{held:>14}{o.client_mb * scale:>11.1f}"
              f"{o.server_mb * scale:>11.1f}{o.leases_s:>10.0f}")  # fmt: skip
    if not any(o.name == "PgBouncer" for o in outcomes):
        print("PgBouncer is not installed: tests/install_debian.sh installs it")
    print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores, {tenants} databases, "
          f"{LEASES} leases each, cap {CAP}")  # fmt: skip


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(asdict(asyncio.run(measure(Plan.read(options.plan), options.way)))))
        return 0
    outcomes = run(options.tenants)
    if options.json:
        print(json.dumps([asdict(outcome) for outcome in outcomes]))
    else:
        show(outcomes, options.tenants)
    return 0


if __name__ == "__main__":
    sys.exit(main())
