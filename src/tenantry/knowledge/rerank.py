"""The last order of what was found, by a reranker if the operator set one up."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol, TypeVar

from tenantry.core.errors import EgressRefused, ProviderError
from tenantry.providers.rerank import Reranker

_LOG = logging.getLogger("tenantry.knowledge")
_MOST = 50  # passages that are read again; the rest stays behind them
_MOST_CHARACTERS = 8000  # of one passage; the rest of it is not read again
_WITHIN_S = 5.0  # attempts and waits together: a member waits for the search


class _Readable(Protocol):
    @property
    def text(self) -> str: ...


_Passage = TypeVar("_Passage", bound=_Readable)


async def reordered(
    reranker: Reranker, question: str, found: Sequence[_Passage], within_s: float = _WITHIN_S
) -> list[_Passage]:
    """The passages, best first by the reranker; as they were when it does not answer in time."""
    head, tail = found[:_MOST], found[_MOST:]
    if len(head) < 2:
        return list(found)
    try:
        async with asyncio.timeout(within_s):
            texts = [passage.text[:_MOST_CHARACTERS] for passage in head]
            scores = await reranker.scores(question, texts)
    except TimeoutError:
        _LOG.warning("rerank_skipped", extra={"model": reranker.name, "error": "deadline"})
        return list(found)
    except (EgressRefused, ProviderError) as error:
        _LOG.warning("rerank_skipped", extra={"model": reranker.name, "error": error.code})
        return list(found)
    order = sorted(range(len(head)), key=lambda place: -scores[place])
    return [*(head[place] for place in order), *tail]
