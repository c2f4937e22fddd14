"""The contract between the pools and the drivers of the connector kinds.

A driver supplies physical connections and says, in a `Dial`, what it expects to reach; the pools
never see an address or a secret. Everything a server says about itself is an `Identity`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar

from tenantry.core.ids import ConnectorId, TenantId

Level = Literal["hybrid", "dedicated", "shared", "per_request"]
"""How far a connector's connections are isolated; `pools.levels` says what each means."""


@dataclass(frozen=True, slots=True)
class PoolKey:
    """Whose a connection is: a tenant's connector, with one version of its credential."""

    tenant: TenantId
    connector: ConnectorId
    credential_version: int


@dataclass(frozen=True, slots=True)
class Identity:
    """What a server itself reports of a session.

    Attributes:
        user: who the session runs as.
        database: the database it is in.
        server: which server and session, such as `10.1.2.3:5432/4711`; whatever it is, the pools
            require that it never changes while the connection lives. In a `Dial`, empty means that
            it cannot be foretold.
    """

    user: str
    database: str
    server: str = ""


class PhysicalConnection(Protocol):
    """One socket to one database, made by a kind's driver.

    Every method but `close` raises `SourceUnreachable`, or an `OSError`, when the connection is
    lost.
    """

    async def identity(self) -> Identity:
        """Ask the server who and where this session is: one round trip, never from memory."""
        ...

    async def reset(self) -> Identity | None:
        """Roll back and let the session forget all: settings, role, temporary tables, cursors.

        Returns:
            What the server reports afterwards, if the same round trip tells it; None makes the pool
            ask `identity`.
        """
        ...

    async def ping(self) -> None:
        """Find out whether the server still answers."""
        ...

    async def close(self) -> None:
        """Let go of the socket and stop what still runs at the server; never raises.

        Called once, in a task of its own. Where nothing runs it does not wait for the server.
        """
        ...


C = TypeVar("C", bound=PhysicalConnection)


@dataclass(frozen=True, slots=True)
class Dial(Generic[C]):
    """How to reach one tenant's database, and what to expect there.

    Attributes:
        key: whose it is.
        level: how its connections are pooled.
        expected: what the server must report while the connection is lent; its `server` may be
            empty.
        connect: makes a connection; when cancelled or failed, it leaves no socket behind.
        share: for `shared`, all that the login rests on: kind, server, database, user, digest of
            the secret. Equal ones use the same connections, whichever tenant they are for.
        assume: binds a connection to the tenant when it is handed out, such as by `SET ROLE`;
            `reset` undoes it. What it raises goes to whoever asked, unless the connection is lost.
        unassumed: what the server must report after `reset`, if `assume` changes it.
    """

    key: PoolKey
    level: Level
    expected: Identity
    connect: Callable[[], Awaitable[C]]
    share: tuple[str, ...] = field(default=(), repr=False)
    assume: Callable[[C], Awaitable[None]] | None = None
    unassumed: Identity | None = None

    def __post_init__(self) -> None:
        """Refuse a shared pool that says not with whom.

        Raises:
            ValueError: `level` is `shared` and `share` is empty.
        """
        if self.level == "shared" and not self.share:
            raise ValueError("a shared pool needs to know what its login rests on")


@dataclass(frozen=True, slots=True)
class PoolCaps:
    """Ceilings over all levels together.

    Attributes:
        total: connections of this process, idle ones included.
        per_tenant: of these, how many may be one tenant's.
        idle_s: an idle connection is closed after this long.
        acquire_timeout_s: longest wait for a connection, dialling included.
        max_lifetime_s: a connection is not lent again after this long.
    """

    total: int = 100
    per_tenant: int = 8
    idle_s: float = 120.0
    acquire_timeout_s: float = 10.0
    max_lifetime_s: float = 1800.0

    def __post_init__(self) -> None:
        """Refuse ceilings that let nothing through.

        Raises:
            ValueError: a cap is below one, or a time is not positive.
        """
        times = (self.idle_s, self.acquire_timeout_s, self.max_lifetime_s)
        if min(self.total, self.per_tenant) < 1 or min(times) <= 0:
            raise ValueError("caps are at least one, times positive")


@dataclass(frozen=True, slots=True)
class LevelSnapshot:
    """Figures of one level: the first three now, the others since the start.

    Attributes:
        idle, leased, connecting: connections in that state.
        acquired: leases given; of these, `reused` needed no dial.
        waited: leases, or attempts at one, that had to queue; `wait_s` is how long in all.
        exhausted: attempts that gave up for want of a free connection.
        connected, failed: dials that succeeded, and that did not.
        evicted: idle connections closed to make room for others.
        expired: closed for idling or living too long.
        retired: closed because their credential was replaced or their connector removed.
        lost: found dead.
        discarded: closed because their lease was cancelled or ended in an error.
        violated: not their tenant's own; closed and audited.
    """

    idle: int = 0
    leased: int = 0
    connecting: int = 0
    acquired: int = 0
    reused: int = 0
    waited: int = 0
    wait_s: float = 0.0
    exhausted: int = 0
    connected: int = 0
    failed: int = 0
    evicted: int = 0
    expired: int = 0
    retired: int = 0
    lost: int = 0
    discarded: int = 0
    violated: int = 0


@dataclass(frozen=True, slots=True)
class PoolsSnapshot:
    """Figures of all pools; bounded, however many tenants there are.

    Attributes:
        open: connections that count against the total cap, those being closed included.
        closing: of these, how many are being closed.
        waiting: attempts in the queue.
        levels: by level, each present.
    """

    open: int
    closing: int
    waiting: int
    levels: Mapping[Level, LevelSnapshot]
