"""Asks every question of the set by meaning alone, by words alone, and both ways fused."""

from dataclasses import dataclass
from statistics import fmean

from tenantry.isolation.context import TenantContext
from tenantry.providers.base import Embedder
from tests.integration.knowledge.conftest import Knowledge
from tests.retrieval_set import Asked, documents, ndcg_at_10, questions
from tests.worlds import World

ALONE = ("meaning", "words")
TOGETHER = "hybrid"


@dataclass(frozen=True, slots=True)
class Score:
    """nDCG@10 of one question, by arm."""

    asked: Asked
    by_arm: dict[str, float]


class Library:
    """The set's documents, in one tenant."""

    def __init__(self, world: World, embedder: Embedder) -> None:
        self._knowledge = Knowledge.over(world, embedder)
        self._world = world

    async def fill(self, ctx: TenantContext) -> None:
        """Ingest every document."""
        for name, content in documents().items():
            await self._knowledge.add(ctx, name, content)

    async def scores(self, ctx: TenantContext) -> list[Score]:
        """Every question, by every arm."""
        return [await self._score(ctx, asked) for asked in questions()]

    async def _score(self, ctx: TenantContext, asked: Asked) -> Score:
        answers = self._answers(ctx, asked.answer)
        assert answers, f"no passage holds the words {asked.answer!r}"
        ranked = await self._knowledge.retriever.by_arm(ctx, asked.text, 10)
        return Score(
            asked,
            {
                arm: ndcg_at_10([_line(p.text) for p in passages], asked.answer, answers)
                for arm, passages in ranked.items()
            },
        )

    def _answers(self, ctx: TenantContext, answer: str) -> int:
        with self._world.admin() as admin:
            found = admin.execute(
                "SELECT content FROM tenantry.chunks WHERE tenant_id = %s", [ctx.tenant]
            )
            return sum(answer in _line(content) for (content,) in found.fetchall())


def _line(text: str) -> str:
    return " ".join(text.split())


def mean(scores: list[Score], arm: str) -> float:
    """Mean nDCG@10 of an arm."""
    return fmean(score.by_arm[arm] for score in scores)
