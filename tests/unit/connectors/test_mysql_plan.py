"""A plan tells how many rows a statement would look at, before it looks at one (CON-3)."""

import pytest

from tenantry.connectors.mysql_plan import rows_looked_at
from tenantry.core.events import Json

Step = dict[str, Json]


def _step(rows: Json, block: Json = 1, kind: str = "SIMPLE", **more: Json) -> Step:
    return {"id": block, "select_type": kind, "table": "t", "rows": rows, **more}


@pytest.mark.parametrize(
    ("plan", "rows"),
    [
        ([], 0),
        ([_step(1000)], 1000),
        ([_step(1000), _step(1)], 2000),  # each row finds its one partner by key
        ([_step(1000), _step(5)], 6000),
        ([_step(1000), _step(1000), _step(1000)], 1_001_001_000),
        ([_step(1000, filtered=10.0), _step(1000, filtered=100.0)], 101_000),
        ([_step(100, 1, "PRIMARY"), _step(50, 2, "UNION"), _step(None, None, "UNION RESULT")], 151),
        ([_step(100, 1, "PRIMARY"), _step(50, 2, "SUBQUERY")], 150),
        ([_step(100, 1, "PRIMARY"), _step(50, 2, "DEPENDENT SUBQUERY")], 5100),
        ([_step(100, 1, "PRIMARY"), _step(7, 2, "UNCACHEABLE SUBQUERY")], 800),
        ([_step(None, 1, "SIMPLE", Extra="No tables used")], 1),
        ([_step("1000"), _step("1000", filtered="50.00")], 1_001_000),  # as MariaDB sends them
        ([_step("many"), _step(-5), _step(0)], 3),
    ],
)
@pytest.mark.req("CON-3")
def test_rows_multiply_along_a_join_and_add_up_over_queries(plan: list[Step], rows: float) -> None:
    assert rows_looked_at(plan) == rows


def test_a_filter_never_adds_rows() -> None:
    assert rows_looked_at([_step(10, filtered=1e9), _step(10)]) == 110
