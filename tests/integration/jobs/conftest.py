"""Jobs of two tenants and the real queue, taken from by hand: each pick is one step of a test."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
from pgqueuer.domain.models import Job as Row
from pgqueuer.domain.types import QueueEntrypoint, QueueManagerId
from pgqueuer.ports.repository import EntrypointExecutionParameter

from tenantry.db.pool import RolePool
from tenantry.isolation.context import TenantContext
from tenantry.isolation.statements import RoleDatabase
from tenantry.jobs.attempt import Attempt, Attempts
from tenantry.jobs.job import Job, NewJob
from tenantry.jobs.jobs import Jobs
from tenantry.workers.queue import FairQueries
from tests.worlds import World

POOL = QueueEntrypoint("ingest")


@dataclass
class Hand:
    """A worker that picks when it is told to."""

    queries: FairQueries
    attempts: Attempts
    id: QueueManagerId = field(default_factory=lambda: QueueManagerId(uuid4()))

    async def pick(self, heartbeat_s: float = 30) -> Row | None:
        """The next row, if there is one for it."""
        rows = await self.queries.dequeue(
            1,
            {POOL: EntrypointExecutionParameter(0)},
            self.id,
            None,
            timedelta(seconds=heartbeat_s),
        )
        return rows[0] if rows else None

    async def begin(self, row: Row) -> Attempt | None:
        """Begin what a row asks for."""
        return await self.attempts.begin(row.payload or b"", self.queries.keys.pop(row.id, None))

    async def report(self, row: Row, status: Any = "successful") -> None:
        """Tell the queue that the row is done with."""
        await self.queries.log_jobs([(row, status, None)])


@dataclass
class Desk:
    """A world with jobs."""

    world: World
    jobs: Jobs
    attempts: Attempts
    pool: RolePool
    stack: AsyncExitStack

    async def hand(self, concurrency: int = 10) -> Hand:
        """Another worker."""
        connection = await self.stack.enter_async_context(self.pool.connection())
        driver = PsycopgDriver(cast(Any, connection))
        door = RoleDatabase(self.pool)
        return Hand(FairQueries(driver, door=door, concurrency=concurrency), self.attempts)

    async def enqueue(self, ctx: TenantContext, *keys: str, cost: int = 1) -> list[Job]:
        """Enqueue work that does nothing, one job a key."""
        async with self.world.db.tenant(ctx) as tx:
            return [
                await self.jobs.enqueue(tx, NewJob("ingest", "nothing", key, key, cost=cost))
                for key in keys
            ]

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows read past row-level security."""
        with self.world.admin() as admin:
            return admin.execute(query.encode(), parameters).fetchall()

    def execute(self, statement: str, *parameters: object) -> int:
        """Change rows as somebody who may do anything."""
        with self.world.admin() as admin:
            return admin.execute(statement.encode(), parameters).rowcount


@asynccontextmanager
async def opened_desk(world: World) -> AsyncIterator[Desk]:
    """Jobs of acme and globex."""
    async with AsyncExitStack() as stack:
        cluster = world.cluster
        pool = RolePool(
            cluster.url(world.database), "tenantry_queue", cluster.secrets.queue_password, 12
        )
        await pool.open()
        stack.push_async_callback(pool.close)
        attempts = Attempts(world.db, world.mint, cluster.signer, world.audit, world.clock)
        async with AsyncExitStack() as hands:
            yield Desk(world, Jobs(world.db, world.audit), attempts, pool, hands)


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    """Jobs of acme and globex."""
    async with opened_desk(world) as desk:
        yield desk
