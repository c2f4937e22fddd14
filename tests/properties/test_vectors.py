"""Whatever is added, removed, promoted and demoted: a search gives its tenant's nearest passages.

Beside the real store runs a model in NumPy that holds each tenant's vectors. Steps are drawn for
both tenants: add and remove documents, one step of promotion or demotion, a search with any
filter. A passage of the other tenant can never be right: its document is not in the model of the
asking one.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantry.vectors.base import Filter
from tenantry.vectors.shelves import Shelves, Thresholds
from tests.integration.vectors.stock import VERSION, Held, Stock
from tests.worlds import World

Action = Literal["add", "remove", "tend", "search"]
ACTIONS: list[Action] = ["add", "add", "remove", "tend", "tend", "tend", "search"]
TYPES = ("text/plain", "text/html", "text/csv")


@dataclass(frozen=True)
class Step:
    tenant: int
    action: Action
    size: int
    kind: int


STEP = st.builds(
    Step, st.integers(0, 1), st.sampled_from(ACTIONS), st.integers(1, 25), st.integers(0, 5)
)


async def _take(stock: Stock, held: Held, step: Step) -> None:
    if step.action == "add":
        await stock.add(held, step.size, TYPES[step.kind % 3])
    elif step.action == "remove" and held.vectors:
        documents = list(held.vectors)
        await stock.remove(held, documents[step.size % len(documents)])
    elif step.action == "tend":
        await stock.tend(held)
    await _check(stock, held, step)


async def _check(stock: Stock, held: Held, step: Step) -> None:
    """A search of this tenant gives exactly its own nearest passages."""
    neighbours = stock.globex if held is stock.acme else stock.acme
    where = (
        Filter(),
        Filter(media_types=(TYPES[step.kind % 3],)),
        Filter(media_types=TYPES[:2]),
        Filter(document_ids=tuple(list(held.vectors)[::2])),
        Filter(document_ids=(*list(held.vectors)[:1], *neighbours.vectors)),
        Filter(document_ids=tuple(neighbours.vectors)),
    )[step.kind]
    asked = stock.unit(1)[0]
    found = await stock.search(held, step.size, asked, where)
    assert {near.document_id for near in found} <= set(held.vectors)
    distances = [near.distance for near in found]
    expected = stock.expected(held, step.size, asked, where)
    assert len(distances) == len(expected)  # fewer than asked only when there are fewer
    assert np.allclose(distances, expected, atol=2e-3)


@pytest.mark.req("VEC-1", "VEC-2")
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=10, max_size=40), st.integers(0, 2**32 - 1))
async def test_a_search_gives_its_tenants_nearest_passages_whatever_happened_before(
    world: World, steps: list[Step], seed: int
) -> None:
    stock = Stock(world, seed)
    stock.shelves = Shelves(world.db, world.audit, Thresholds(promote_at=20, demote_below=10))
    with world.admin() as admin:  # every example begins with two tenants that hold nothing
        admin.execute("DELETE FROM tenantry.documents")
    for held in (stock.acme, stock.globex):
        while await stock.tend(held) is not None:
            pass
        await stock.add(held, 12)
    for step in steps:
        await _take(stock, (stock.acme, stock.globex)[step.tenant], step)
    for held in (stock.acme, stock.globex):
        rows = await _on_shelf(stock, held)
        assert rows in (None, sum(map(len, held.vectors.values())))


async def _on_shelf(stock: Stock, held: Held) -> int | None:
    """Rows of the tenant's shelf if it is ready: as many as it has passages."""
    with stock.world.admin() as admin:
        row = admin.execute(
            "SELECT (SELECT count(*) FROM tenantry.chunk_vectors AS v WHERE v.shelf = s.shelf)"
            "  FROM tenantry.vector_shelves AS s"
            " WHERE s.tenant_id = %s AND s.version = %s AND s.state = 'ready'",
            [held.ctx.tenant, VERSION],
        ).fetchone()
    return None if row is None else int(row[0])
