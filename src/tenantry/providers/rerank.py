"""Rerankers: models that read a question and passages together, and say how well each answers.

Source: the `/rerank` call that Cohere described and Jina, vLLM, TEI and llama.cpp answer as well.
"""

import math
from collections.abc import Sequence
from typing import Protocol

from tenantry.core.errors import ProviderMalformed
from tenantry.providers.calls import Call, Retry, encoded, read_answer
from tenantry.providers.upstream import Patience, Upstream

RERANK_PATH = "/rerank"


class Reranker(Protocol):
    """Puts passages into a better order."""

    @property
    def name(self) -> str:
        """Identifies account and model, as in the ledger."""
        ...

    async def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """How well each passage answers the question; higher is better, one for each.

        Raises:
            ProviderError: the provider failed, or its answer is not one score a passage.
        """
        ...


class HttpReranker:
    """`Reranker` over HTTP; holds nothing of a call once it ends."""

    def __init__(
        self,
        upstream: Upstream,
        name: str,
        model: str,
        patience: Patience | None = None,
        retry: Retry | None = None,
    ) -> None:
        self._upstream = upstream
        self._name = name
        self._model = model
        self._patience = patience or Patience()
        self._retry = retry or Retry()

    @property
    def name(self) -> str:
        """Identifies account and model, as in the ledger."""
        return self._name

    async def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """How well each passage answers the question; higher is better, one for each.

        Raises:
            ProviderError: the provider failed, or its answer is not one score a passage.
        """
        body = {
            "model": self._model,
            "query": question,
            "documents": list(passages),
            "top_n": len(passages),
        }
        call = Call(RERANK_PATH, encoded(body), self._retry, self._patience)
        answer = await read_answer(self._upstream, call)
        results = answer.get("results")
        if not isinstance(results, list):
            raise ProviderMalformed("The reranker sent no results.")
        found: dict[int, float] = {}
        for item in results:
            index, score = _scored(item)
            if index in found:
                raise ProviderMalformed("The reranker scored a passage twice.")
            found[index] = score
        if found.keys() != set(range(len(passages))):
            raise ProviderMalformed("The reranker sent scores of other passages.")
        return [found[index] for index in range(len(passages))]


def _scored(item: object) -> tuple[int, float]:
    if isinstance(item, dict):
        index, score = item.get("index"), item.get("relevance_score")
        if type(index) is int and isinstance(score, int | float) and math.isfinite(score):
            return index, float(score)
    raise ProviderMalformed("The reranker sent something else than scores.")
