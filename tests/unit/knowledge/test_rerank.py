"""A reranker's order is taken; without an answer the order stays."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tenantry.core.errors import EgressRefused, ProviderUnavailable
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


class Silent:
    """A reranker's double that never answers."""

    name = "double/silent"

    async def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        assert question
        assert passages
        await asyncio.Event().wait()
        return []


@pytest.mark.req("VEC-3")
async def test_a_reranker_that_never_answers_is_not_waited_for() -> None:
    assert await reordered(Silent(), "q", PASSAGES, within_s=0) == PASSAGES


@pytest.mark.req("VEC-3")
async def test_only_the_beginning_of_a_long_passage_is_read_again() -> None:
    long, short = Text("x" * 9000), Text("a")
    found = await reordered(Told({"x" * 8000: 0.1, "a": 0.9}), "q", [long, short])
    assert found == [short, long]


class Forbidden:
    """A reranker's double at an address that may not be reached."""

    name = "double/forbidden"

    async def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        assert question
        assert passages
        raise EgressRefused("Not there.")


@pytest.mark.req("VEC-3")
async def test_a_forbidden_address_is_no_error_of_the_search() -> None:
    assert await reordered(Forbidden(), "q", PASSAGES) == PASSAGES
