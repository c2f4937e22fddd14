"""The last order of what was found, by a reranker if the operator set one up."""

import logging
from collections.abc import Sequence
from typing import Protocol, TypeVar

from tenantry.core.errors import ProviderError
from tenantry.providers.rerank import Reranker

_LOG = logging.getLogger("tenantry.knowledge")
_MOST = 50  # passages that are read again; the rest stays behind them


class _Readable(Protocol):
    @property
    def text(self) -> str: ...


_Passage = TypeVar("_Passage", bound=_Readable)


async def reordered(reranker: Reranker, question: str, found: Sequence[_Passage]) -> list[_Passage]:
    """The passages, best first by the reranker; as they were when it does not answer."""
    head, tail = found[:_MOST], found[_MOST:]
    if len(head) < 2:
        return list(found)
    try:
        scores = await reranker.scores(question, [passage.text for passage in head])
    except ProviderError as error:
        _LOG.warning("rerank_skipped", extra={"model": reranker.name, "error": error.code})
        return list(found)
    order = sorted(range(len(head)), key=lambda place: -scores[place])
    return [*(head[place] for place in order), *tail]
