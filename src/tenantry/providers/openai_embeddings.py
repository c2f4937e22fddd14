"""Embeddings of any server that speaks OpenAI's `/embeddings`.

Source: OpenAI's API reference, "Embeddings".
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenantry.core.errors import ProviderMalformed
from tenantry.providers.calls import Call, Retry, encoded, read_answer
from tenantry.providers.upstream import Patience, Upstream

EMBEDDINGS_PATH = "/embeddings"


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """Which vectors are asked for.

    Attributes:
        name: identifies model and version here; stored beside each vector.
        upstream: the provider's own name of the model.
        dimension: length of its vectors; an answer of another length is refused.
        query_prefix: put before a question, for models that were trained so (`query: `).
        passage_prefix: put before a passage (`passage: `).
        batch: passages in one call, at most.
        bytes_per_token: UTF-8 bytes that make a token, on average; see `count_tokens`.
    """

    name: str
    upstream: str
    dimension: int
    query_prefix: str = ""
    passage_prefix: str = ""
    batch: int = 64
    bytes_per_token: float = 3.0


class OpenAICompatibleEmbedder:
    """`Embedder` over HTTP; holds nothing of a call once it ends."""

    def __init__(
        self,
        upstream: Upstream,
        model: EmbeddingModel,
        patience: Patience | None = None,
        retry: Retry | None = None,
    ) -> None:
        self._upstream = upstream
        self._model = model
        self._patience = patience or Patience()
        self._retry = retry or Retry()

    @property
    def name(self) -> str:
        """Identifies model and version; vectors of different names are never compared."""
        return self._model.name

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._model.dimension

    async def embed_query(self, text: str) -> NDArray[np.float32]:
        """Vector of a question, shape (dimension,), of unit length.

        Raises:
            ProviderError: the provider failed, or its answer is not vectors of this model.
        """
        vectors = await self._embed([self._model.query_prefix + text])
        return vectors.reshape(self.dimension)

    async def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of passages, shape (len(texts), dimension), of unit length.

        Raises:
            ProviderError: the provider failed, or its answer is not vectors of this model.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), self._model.batch):
            batch = [self._model.passage_prefix + t for t in texts[start:][: self._model.batch]]
            vectors[start : start + len(batch)] = await self._embed(batch)
        return vectors

    def count_tokens(self, text: str) -> int:
        """About how many tokens `text` takes: its bytes over the model's bytes per token.

        The provider's tokenizer is not here; three bytes a token errs on the high side for
        prose in European languages and is near for others.
        """
        return max(1, math.ceil(len(text.encode("utf-8", "replace")) / self._model.bytes_per_token))

    async def _embed(self, inputs: Sequence[str]) -> NDArray[np.float32]:
        body = {"model": self._model.upstream, "input": list(inputs), "encoding_format": "float"}
        call = Call(EMBEDDINGS_PATH, encoded(body), self._retry, self._patience)
        answer = await read_answer(self._upstream, call)
        return unit_vectors(answer, len(inputs), self.dimension)


def unit_vectors(answer: Mapping[str, Any], count: int, dimension: int) -> NDArray[np.float32]:
    """The vectors of an answer, each of unit length.

    Raises:
        ProviderMalformed: they are not as many, not of this dimension, or have no direction.
    """
    data = answer.get("data")
    if not isinstance(data, list) or len(data) != count:
        raise ProviderMalformed("The embedding provider sent another number of vectors.")
    vectors = np.full((count, dimension), np.nan, dtype=np.float32)
    for position, item in enumerate(data):
        if not isinstance(item, dict):
            raise ProviderMalformed
        index, values = item.get("index", position), item.get("embedding")
        if index not in range(count) or not _numbers(values, dimension):
            raise ProviderMalformed("The embedding provider sent vectors of another size.")
        with np.errstate(over="ignore"):
            vectors[index] = values
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    # A vector that is missing, not finite or zero has no direction to compare.
    if not np.isfinite(lengths).all() or not lengths.all():
        raise ProviderMalformed("The embedding provider sent vectors without direction.")
    unit: NDArray[np.float32] = vectors / lengths
    return unit


def _numbers(values: object, dimension: int) -> bool:
    if not isinstance(values, list) or len(values) != dimension:
        return False
    return all(isinstance(value, float | int) for value in values)
