"""What a statement would cost, by the server's own plan (CON-3).

The planner's unit is about one page read in order; a row costs a hundredth of it. Unlike the
numbers of rows, the cost counts those that a filter or a join looks at and leaves out.

Source: PostgreSQL 18 manual, "Planner Cost Constants" and "EXPLAIN".
"""

import orjson

MOST_COST = 3_000_000.0
"""A statement that would cost more is refused: a minute's work of a good server."""


def cost(plan: bytes) -> float:
    """The cost of the whole statement; 0 for a plan that cannot be read.

    Args:
        plan: what `EXPLAIN (FORMAT JSON)` answers.
    """
    try:
        return float(orjson.loads(plan)[0]["Plan"]["Total Cost"])
    except (ValueError, LookupError, TypeError):
        return 0.0  # the time limit stands alone
