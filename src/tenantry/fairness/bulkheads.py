"""Lanes: interactive, batch and embedding work, none of which can take all slots of a pool."""

import math
from typing import Literal, get_args

Lane = Literal["interactive", "embedding", "batch"]
LANES: tuple[Lane, ...] = get_args(Lane)
_SHARES = (1.0, 0.1, 0.2)
"""Of a pool's slots, how many a lane may hold before the last free ones are closed to it.

Interactive work is never closed out: somebody sits and waits for it.
"""
_PATIENCE_S = (0.0, 0.0, 20.0)
"""How much later than it came a call counts as having come, among calls of its own tenant: batch
work goes after interactive work, and before what came twenty seconds later."""


def lane_number(lane: Lane) -> int:
    """The lane's place in everything that is kept by lane."""
    return LANES.index(lane)


def guaranteed(lane: int, capacity: int) -> int:
    """Slots that the lane may hold even when nearly all are taken; at least one."""
    return max(1, math.ceil(capacity * _SHARES[lane]))


def counts_as_come(lane: int, since: float) -> float:
    """When a call counts as having come, beside calls of its tenant in other lanes."""
    return since + _PATIENCE_S[lane]
