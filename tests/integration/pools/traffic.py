"""Traffic of many tenants over one pool, with kills, rotations and cancellations in between."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tenantry.core.clock import SystemClock
from tenantry.core.errors import OwnershipViolated, PoolExhausted, QueryFailed
from tenantry.pools.base import Dial, PoolCaps
from tenantry.pools.pools import Pools
from tests.sources.tenant_databases import PlainConnection, TenantDatabase, TenantServer
from tests.unit.pools.scripted_server import Recorded


@dataclass(frozen=True)
class Size:
    """How much; a `stay` is how often a worker leases for one tenant before it takes another."""

    tenants: int
    acquisitions: int
    cap: int
    workers: int
    stay: int = 10


@dataclass
class Traffic:
    """Runs it and keeps the score."""

    server: TenantServer
    size: Size
    pools: Pools
    audit: Recorded
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[object] = field(default_factory=list)
    most_sessions: int = 0
    _running: dict[asyncio.Task[None], None] = field(default_factory=dict)

    @classmethod
    def over(cls, server: TenantServer, size: Size) -> "Traffic":
        """Traffic over fresh pools."""
        audit = Recorded()
        caps = PoolCaps(total=size.cap, per_tenant=4, acquire_timeout_s=30.0)
        return cls(server, size, Pools(caps, audit, SystemClock()), audit)

    @property
    def acquired(self) -> int:
        """Leases given so far, on all levels."""
        return sum(level.acquired for level in self.pools.snapshot().levels.values())

    @property
    def is_done(self) -> bool:
        """Whether that many leases were given, and everything happened that may go wrong."""
        happened = min(self.outcomes[what] for what in ("cancelled", "rotations", "kills"))
        return self.acquired >= self.size.acquisitions and happened > 0

    async def run(self) -> None:
        """Until it is done."""
        chaos = [
            asyncio.create_task(self._every(0.05, self._cancel_some)),
            asyncio.create_task(self._every(0.20, self._rotate_one)),
            asyncio.create_task(self._every(0.50, self._kill_some)),
            asyncio.create_task(self.pools.run()),
        ]
        await asyncio.gather(*(self._work() for _ in range(self.size.workers)))
        for task in chaos:
            task.cancel()
        ended = await asyncio.gather(*chaos, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
        await self.pools.close()

    async def _work(self) -> None:
        while not self.is_done:
            tenant = self.dice.choice(self.server.tenants)
            for number in range(self.dice.randint(1, 2 * self.size.stay - 1)):
                task = asyncio.create_task(self._ask(tenant, f"{id(self)}-{number}"))
                self._running[task] = None
                await asyncio.wait([task])
                del self._running[task]
                self.outcomes[self._outcome(task)] += 1

    async def _ask(self, tenant: TenantDatabase, question: str) -> None:
        dial: Dial[PlainConnection] = tenant.dial()
        async with self.pools.lease(tenant.ctx, dial) as connection:
            rows = await connection.rows("SELECT name, %s FROM owner", [question])
            if rows != [(tenant.name, question)]:
                self.wrong.append((tenant.name, rows))

    def _outcome(self, task: "asyncio.Task[None]") -> str:
        if task.cancelled():
            return "cancelled"
        error = task.exception()
        if error is None:
            return "answered"
        assert isinstance(error, QueryFailed | PoolExhausted | OwnershipViolated), repr(error)
        return type(error).__name__

    async def _every(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds * self.dice.uniform(0.2, 1.8))
            await act()

    async def _cancel_some(self) -> None:
        running = list(self._running)
        for task in self.dice.sample(running, min(3, len(running))):
            self.outcomes["cancellations"] += task.cancel()

    async def _rotate_one(self) -> None:
        tenant = self.dice.choice(self.server.tenants)

        def rotate() -> None:
            with self.server.admin() as admin:
                self.server.rotate(admin, tenant)

        await asyncio.to_thread(rotate)
        await self.pools.retire(tenant.ctx.tenant, tenant.connector, older_than=tenant.version)
        self.outcomes["rotations"] += 1

    async def _kill_some(self) -> None:
        def kill() -> tuple[int, int]:
            with self.server.admin() as admin:
                sessions = sum(self.server.sessions().values())
                return sessions, self.server.kill_some(admin, 0.1)

        sessions, killed = await asyncio.to_thread(kill)
        self.most_sessions = max(self.most_sessions, sessions)
        self.outcomes["kills"] += killed
