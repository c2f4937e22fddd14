"""A reranker's order is taken; without an answer the order stays."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tenantry.core.errors import ProviderUnavailable
from tenantry.knowledge.rerank import reordered


@dataclass
class Told:
    """A reranker's double.

    Attributes:
        by_text: the score of each text; empty is a provider that is away.
    """

    by_text: dict[str, float]
    name: str = "double/reranker"

    async def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        assert question == "q"
        if not self.by_text:
            raise ProviderUnavailable
        return [self.by_text[text] for text in passages]


@dataclass(frozen=True)
class Text:
    text: str


PASSAGES = [Text("a"), Text("b"), Text("c")]


@pytest.mark.req("VEC-3")
async def test_passages_come_in_the_rerankers_order() -> None:
    reranker = Told({"a": 0.1, "b": 0.9, "c": 0.5})
    assert [p.text for p in await reordered(reranker, "q", PASSAGES)] == ["b", "c", "a"]


@pytest.mark.req("VEC-3")
async def test_without_its_answer_the_order_stays() -> None:
    assert await reordered(Told({}), "q", PASSAGES) == PASSAGES
    assert await reordered(Told({}), "q", PASSAGES[:1]) == PASSAGES[:1]


@pytest.mark.req("VEC-3")
async def test_what_is_past_the_first_fifty_stays_behind_them() -> None:
    many = [Text(str(n)) for n in range(60)]
    found = await reordered(Told({str(n): float(n) for n in range(60)}), "q", many)
    assert [p.text for p in found] == [str(n) for n in (*range(49, -1, -1), *range(50, 60))]
