"""How many rows a statement would look at, by the server's own plan (CON-3).

The tabular plan is read, because MySQL and MariaDB write it alike, as they do not write their JSON.
A table's `rows` are looked at once for each combination of rows of the tables before it.

Source: MySQL 8.4 reference manual, "EXPLAIN Output Format".
"""

import re
from collections.abc import Mapping, Sequence

from tenantry.core.events import Json

MOST_ROWS = 100_000_000
"""A statement that would look at more is refused: a minute's work of a good server."""
_NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?")
_REPEATED = ("DEPENDENT", "UNCACHEABLE")  # run anew for every row of the query around it


def rows_looked_at(plan: Sequence[Mapping[str, Json]]) -> float:
    """An estimate for the whole statement.

    Args:
        plan: the rows of `EXPLAIN`, by column name.
    """
    combinations: dict[Json, float] = {}  # of the rows that pass, by query block
    looked_at: dict[Json, float] = {}
    repeated: set[Json] = set()
    for step in plan:
        block = step.get("id")
        before = combinations.get(block, 1.0)
        rows = max(_number(step.get("rows"), 1.0), 1.0)
        looked_at[block] = looked_at.get(block, 0.0) + before * rows
        passing = min(_number(step.get("filtered"), 100.0), 100.0) / 100
        combinations[block] = max(before * rows * passing, 1.0)
        if str(step.get("select_type")).startswith(_REPEATED):
            repeated.add(block)
    once = [block for block in looked_at if block not in repeated]
    outer = max((combinations[block] for block in once), default=1.0)
    return sum(looked_at[block] * (outer if block in repeated else 1.0) for block in looked_at)


def _number(value: Json, default: float) -> float:
    """A number of the plan: MySQL sends numbers, MariaDB texts."""
    found = _NUMBER.fullmatch(str(value))
    return float(found[0]) if found else default
