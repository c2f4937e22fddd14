"""A scripted server and its wire: the outside world of the pools, in memory.

Answers travel in order, as on a socket: one that nobody read is read by whoever asks next. So a
pool that lends a connection again after its user was cancelled shows it at once.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tenantry.core.errors import QueryFailed, SourceUnreachable
from tenantry.core.events import AuditEvent
from tenantry.core.ids import ConnectorId, TenantId, new_id
from tenantry.isolation.context import Actor, ContextMint, TenantContext
from tenantry.pools.base import Dial, Identity, Level, PoolCaps, PoolKey
from tenantry.pools.pools import Pools
from tests.unit.pools.virtual_time import LoopClock

_MINT = ContextMint(b"tests")


class Wire:
    """One socket: what was asked is answered in order, to whoever reads."""

    def __init__(self, database: "ScriptedDatabase", serial: int) -> None:
        self.database = database
        self.serial = serial
        self.role = database.user
        self.settings: dict[str, str] = {}
        self.is_open = True
        self.is_forgotten = False
        self._answers: deque[object] = deque()

    async def ask(self, answer: Callable[[], object]) -> object:
        """Send a question, wait as long as the server takes, read the next answer."""
        self._require_open()
        self._answers.append(answer())
        await self.database.pause(is_silent=self.is_forgotten)
        self._require_open()
        return self._answers.popleft()

    def _require_open(self) -> None:
        if not self.is_open or self.database.is_down:
            raise SourceUnreachable


@dataclass(eq=False)
class ScriptedConnection:
    """The driver's side: a `PhysicalConnection`, and queries that tell whose rows they read."""

    wire: Wire
    resets_tell: bool = True
    closed: int = 0

    async def identity(self) -> Identity:
        answer = await self.wire.ask(self._identity)
        assert isinstance(answer, Identity)
        return answer

    async def reset(self) -> Identity | None:
        self.wire.role = self.wire.database.user
        self.wire.settings.clear()
        answer = await self.wire.ask(self._identity)
        assert isinstance(answer, Identity)
        return answer if self.resets_tell else None

    async def ping(self) -> None:
        await self.wire.ask(lambda: "pong")

    async def close(self) -> None:
        self.closed += 1
        if self.wire.database.close_s:
            await asyncio.sleep(self.wire.database.close_s)
        self.wire.is_open = False
        self.wire.database.sessions.discard(self.wire)

    async def assume(self, role: str) -> None:
        """Become a role, as `SET ROLE` does."""

        def become() -> str:
            self.wire.role = role
            return "SET"

        await self.wire.ask(become)

    async def rows(self, question: str = "") -> tuple[str, str, str]:
        """The database's name, who one is there, and the question: whose answer this is."""
        database = self.wire.database
        database.reads += 1
        answer = await self.wire.ask(lambda: (database.name, self.wire.role, question))
        assert isinstance(answer, tuple)
        return answer

    async def fail(self) -> None:
        """A query that the server rejects."""
        await self.wire.ask(lambda: "error")
        raise QueryFailed

    def _identity(self) -> Identity:
        wire = self.wire
        return Identity(wire.role, wire.database.name, f"{wire.database.host}/{wire.serial}")


@dataclass(eq=False)
class ScriptedDatabase:
    """A server with one database: how fast it is, whether it answers at all."""

    name: str
    user: str = "app"
    host: str = "server"
    latency_s: float = 0.001
    close_s: float = 0.0
    is_down: bool = False
    is_black_hole: bool = False
    sessions: set[Wire] = field(default_factory=set)
    dials: int = 0
    reads: int = 0
    most: int = 0

    async def pause(self, *, is_silent: bool = False) -> None:
        """As long as an answer takes: for ever, if packets are dropped."""
        is_silent |= self.is_black_hole
        await asyncio.sleep(86_400.0 if is_silent else self.latency_s)

    async def connect(self) -> ScriptedConnection:
        self.dials += 1
        await self.pause()
        if self.is_down:
            raise SourceUnreachable
        wire = Wire(self, self.dials)
        self.sessions.add(wire)
        self.most = max(self.most, len(self.sessions))
        return ScriptedConnection(wire)

    def kill_sessions(self) -> None:
        """What a restart does to those connected."""
        for wire in self.sessions:
            wire.is_open = False
        self.sessions.clear()


@dataclass
class Recorded:
    """An audit sink that remembers."""

    events: list[AuditEvent] = field(default_factory=list)
    failure: Exception | None = None

    async def record(self, event: AuditEvent) -> None:
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.events.append(event)


@dataclass
class Customer:
    """A tenant with one connector to a database of its own."""

    ctx: TenantContext
    database: ScriptedDatabase
    connector: ConnectorId = field(default_factory=lambda: ConnectorId(new_id()))
    level: Level = "hybrid"

    @classmethod
    def named(cls, name: str, level: Level = "hybrid") -> "Customer":
        return cls(context(), ScriptedDatabase(name), level=level)

    def dial(self, version: int = 1, level: Level | None = None) -> Dial[ScriptedConnection]:
        key = PoolKey(self.ctx.tenant, self.connector, version)
        expected = Identity(self.database.user, self.database.name)
        share = (self.database.host, self.database.name, self.database.user)
        return Dial(key, level or self.level, expected, self.database.connect, share)


def context(tenant: TenantId | None = None, deadline: float = 1e9) -> TenantContext:
    """A context of a tenant of its own."""
    actor = Actor("worker", new_id(), "worker")
    tenant = tenant or TenantId(new_id())
    return _MINT.mint(tenant, actor, frozenset(), "test", deadline)


def pools_with(
    total: int = 4, per_tenant: int = 2, audit: Recorded | None = None, **caps: float
) -> Pools:
    """Small pools in the loop's own time."""
    limits = {"idle_s": 60.0, "acquire_timeout_s": 5.0, "max_lifetime_s": 600.0} | caps
    return Pools(PoolCaps(total, per_tenant, **limits), audit or Recorded(), LoopClock())
