"""Passages of several tenants are embedded in turns, however many one of them sends."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tenantry.core.ids import TenantId, new_id
from tenantry.fairness.accounts import AccountTerms
from tenantry.fairness.capacity import Capacity
from tenantry.fairness.concurrency import Bounds
from tenantry.fairness.records import Journal
from tenantry.isolation.context import Actor, ContextMint, TenantContext
from tenantry.providers.fair_embedder import PROCESSORS, FairEmbedder
from tests.unit.pools.virtual_time import LoopClock, run


class SlowEmbedder:
    """Takes a second for whatever it is given, and remembers in which order it was given."""

    name, dimension = "slow/1", 2

    def __init__(self) -> None:
        self.given: list[str] = []

    async def embed_query(self, text: str) -> NDArray[np.float32]:
        raise AssertionError(text)

    async def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.given.append(texts[0])
        await asyncio.sleep(1.0)
        return np.ones((len(texts), 2), dtype=np.float32)

    def count_tokens(self, text: str) -> int:
        return len(text)


def _ctx() -> TenantContext:
    actor = Actor("worker", new_id(), "worker")
    return ContextMint(b"k" * 32).mint(TenantId(new_id()), actor, frozenset(), "r", 1e9)


@pytest.mark.req("FAIR-1", "VEC-3")
def test_a_neighbours_document_is_embedded_between_the_parts_of_a_large_one() -> None:
    async def play() -> None:
        slow, mint = SlowEmbedder(), _ctx
        terms = {PROCESSORS.name: AccountTerms(Bounds(1, 1, 1), queue=100, wait_s=600.0)}
        embedder = FairEmbedder(slow, Capacity(terms, LoopClock(), Journal()))
        flood = mint()
        large = [
            asyncio.create_task(embedder.embed_passages(flood, ["flood"] * 160)) for _ in range(4)
        ]
        await asyncio.sleep(2.5)
        vectors = await embedder.embed_passages(mint(), ["small"] * 20)
        assert vectors.shape == (20, 2)
        assert asyncio.get_running_loop().time() < 8.0
        assert [len(await each) for each in large] == [160] * 4
        assert slow.given.count("small") == 2
        assert slow.given.index("small") <= 4

    run(play())


@pytest.mark.req("FAIR-1")
def test_nothing_to_embed_takes_no_turn() -> None:
    async def play() -> None:
        slow = SlowEmbedder()
        capacity = Capacity({}, LoopClock(), Journal())
        assert (await FairEmbedder(slow, capacity).embed_passages(_ctx(), [])).shape == (0, 2)
        assert not slow.given
        assert len(capacity) == 0

    run(play())
