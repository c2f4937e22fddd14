"""The four levels of isolation as data: all that tells them apart (POOL-1).

| level | kept when idle, under | makes room for others | trade-off |
|---|---|---|---|
| `hybrid` | the tenant's own key | yes | one pool of owned connections; the default |
| `dedicated` | the tenant's own key | no | no cold start, at the price of held connections |
| `shared` | the login | yes | fewest connections; isolation rests on `Dial.assume` |
| `per_request` | never | | nothing to leak, a dial for each lease |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tenantry.pools.base import Dial, Level, PoolKey


@dataclass(frozen=True, slots=True)
class PrivateOwner:
    """A tenant's connector, on one level: whose a connection is while lent, and mostly idle too."""

    level: Level
    key: PoolKey


@dataclass(frozen=True, slots=True)
class SharedOwner:
    """Everyone with this very login: whose an idle connection of level `shared` is."""

    share: tuple[str, ...]


Owner = PrivateOwner | SharedOwner
"""Under what a connection stands in the ownership map."""


def borrower(dial: Dial[Any]) -> Owner:
    """Whose the connections made by `dial` are while they are lent."""
    return PrivateOwner(dial.level, dial.key)


def idle_owner(dial: Dial[Any]) -> Owner:
    """Whose the connections made by `dial` are while they are idle."""
    return SharedOwner(dial.share) if LEVELS[dial.level].by_login else borrower(dial)


@dataclass(frozen=True, slots=True)
class LevelRules:
    """What becomes of a connection of one level when it is not lent.

    Attributes:
        is_kept: it stays open for the next lease.
        makes_room: at the cap it may be closed for another key's sake.
        by_login: whoever has the same login may have it next.
    """

    is_kept: bool
    makes_room: bool
    by_login: bool = False


LEVELS: Mapping[Level, LevelRules] = MappingProxyType(
    {
        "hybrid": LevelRules(is_kept=True, makes_room=True),
        "dedicated": LevelRules(is_kept=True, makes_room=False),
        "shared": LevelRules(is_kept=True, makes_room=True, by_login=True),
        "per_request": LevelRules(is_kept=False, makes_room=False),
    }
)
"""Every level's rules."""
