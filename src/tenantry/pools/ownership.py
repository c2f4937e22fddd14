"""The ownership map: which connection is whose, checked three ways (POOL-2).

The map remembers an owner for each physical connection; the connection carries a tag; the server
reports a user, a database and itself. All three must agree whenever a connection changes hands. Any
one of them may be wrong, by a bug or by malice, and the other two still stop the hand-over.
"""

from dataclasses import dataclass
from typing import Literal

from tenantry.core.ids import TenantId
from tenantry.pools.base import Identity, Level, PhysicalConnection, PoolKey
from tenantry.pools.levels import LEVELS, LevelRules, Owner

Mismatch = Literal["map", "tag", "server"]
"""Which of the three contradicted: what was remembered, what it carries, what the server says."""


@dataclass(slots=True, eq=False)
class Owned:
    """A physical connection and what it carries.

    Attributes:
        tag: its owner, as written on it.
        dialled_for: whose credential it was made with.
        made_at: monotonic seconds.
        tenant: whose place it takes up; None while it is idle for everyone with its login.
        idle_since: monotonic seconds; meaningful while idle.
        heard_at: monotonic seconds; when its server was last known to answer.
        is_retired: to be closed as soon as it comes back.
        is_checked: busy with a health check; neither lent nor evicted meanwhile.
    """

    connection: PhysicalConnection
    tag: Owner
    level: Level
    dialled_for: PoolKey
    made_at: float
    tenant: TenantId | None
    idle_since: float = 0.0
    heard_at: float = 0.0
    is_retired: bool = False
    is_checked: bool = False

    @property
    def rules(self) -> LevelRules:
        """The rules of its level."""
        return LEVELS[self.level]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the map."""

    owner: Owner
    server: str


class OwnershipMap:
    """Remembers the owner of every open connection, by the identity of the object itself."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, owned: Owned, reported: Identity) -> None:
        """Remember a connection that was just made, and how its server named itself."""
        self._entries[id(owned.connection)] = _Entry(owned.tag, reported.server)

    def transfer(self, owned: Owned, owner: Owner) -> None:
        """Give a connection another owner, in the map and on its tag.

        Raises:
            KeyError: the map does not know the connection.
        """
        entry = self._entries[id(owned.connection)]
        self._entries[id(owned.connection)] = _Entry(owner, entry.server)
        owned.tag = owner

    def remove(self, owned: Owned) -> None:
        """Forget a connection that is being closed."""
        self._entries.pop(id(owned.connection), None)

    def compare(self, owned: Owned, owner: Owner) -> Mismatch | None:
        """Whether map and tag both say that `owner` owns the connection; None when they do."""
        entry = self._entries.get(id(owned.connection))
        if entry is None or entry.owner != owner:
            return "map"
        return None if owned.tag == owner else "tag"

    def compare_server(
        self, owned: Owned, expected: Identity, reported: Identity
    ) -> Mismatch | None:
        """Whether the server reports what is expected, and names itself as it first did."""
        entry = self._entries.get(id(owned.connection))
        if entry is None:
            return "map"
        same = entry.server == reported.server and is_expected(expected, reported)
        return None if same else "server"


def is_expected(expected: Identity, reported: Identity) -> bool:
    """Whether a report fits; an empty `expected.server` fits any server."""
    return (expected.user, expected.database) == (reported.user, reported.database) and (
        expected.server in ("", reported.server)
    )
